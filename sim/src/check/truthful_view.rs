//! `truthful_view`: what the node believes of a partition is true in this very moment: the high watermark lies within
//! what was written, what it takes for written has been written, and what it takes for durable is durable. It is the
//! single-replica form of R6 and R18: belief is compared with truth before data can be lost.

use super::Violation;
use super::truth::LogTruth;
use crate::disk::Disk;
use sordini_core::node::PartitionView;

pub(super) fn check(view: &PartitionView<'_>, log: &mut LogTruth, disk: &Disk) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "truthful_view", sentence });
    let dir = view.dir;
    let (start, high_watermark, written_end) = (view.log_start.0, view.high_watermark.0, view.written_end.0);
    let (flushed_end, log_end) = (view.flushed_end.0, view.log_end.0);
    if !(start <= high_watermark && high_watermark <= written_end && written_end <= log_end) {
        return violation(format!(
            "{dir}: log start {start}, high watermark {high_watermark}, written end {written_end} and log end {log_end} \
             are not in this order"
        ));
    }
    if log_end != log.end() {
        return violation(format!("{dir} believes that it ends at {log_end}, and ends at {}", log.end()));
    }
    if !log.is_applied(written_end, disk) {
        let applied_end = log.applied_end(disk);
        return violation(format!(
            "{dir} believes to be written up to {written_end}, and is up to {applied_end}"
        ));
    }
    if !log.is_durable(flushed_end, disk) {
        let durable_end = log.durable_end(disk);
        return violation(format!(
            "{dir} believes to be durable up to {flushed_end}, and is up to {durable_end}"
        ));
    }
    Ok(())
}
