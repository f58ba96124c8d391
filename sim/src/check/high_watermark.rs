//! `high_watermark`: what fetch answers call the high watermark never falls while a node leads, and never lies beyond
//! what the log has written.

use super::Violation;
use super::truth::LogTruth;
use crate::disk::Disk;

pub(super) fn check(
    dir: &str,
    log: &mut LogTruth,
    before: Option<i64>,
    high_watermark: i64,
    disk: &Disk,
) -> Result<(), Violation> {
    let violation = |sentence| Err(Violation { property: "high_watermark", sentence });
    if let Some(before) = before.filter(|before| *before > high_watermark) {
        return violation(format!(
            "{dir} told a client {before}, and {high_watermark} later in the same life"
        ));
    }
    let applied_end = log.applied_end(disk);
    if high_watermark > applied_end {
        return violation(format!(
            "{dir} told a client {high_watermark} when the disk had only written up to offset {applied_end}"
        ));
    }
    Ok(())
}
