//! CPU time of a process and all its threads, as Linux counts it.

use anyhow::Context;

/// User and system CPU seconds that process `pid` has used, the threads that have ended included. Linux counts
/// them in 10 ms ticks.
pub(crate) fn seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is the command in parentheses and may hold spaces: count from behind it.
    let fields = stat.rsplit_once(')').context("no command in /proc/PID/stat")?.1;
    let tick = |index: usize| -> anyhow::Result<f64> {
        let field = fields.split_whitespace().nth(index).context("short /proc/PID/stat")?;
        Ok(field.parse::<u64>()? as f64)
    };
    Ok((tick(11)? + tick(12)?) / rustix::param::clock_ticks_per_second() as f64)
}

/// The CPU time of all brokers together, and of this process, at one moment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    brokers: f64,
    client: f64,
}

impl Sample {
    pub(crate) fn now(broker_pids: &[u32]) -> anyhow::Result<Self> {
        let brokers = broker_pids.iter().map(|pid| seconds(*pid)).sum::<anyhow::Result<_>>()?;
        Ok(Self { brokers, client: seconds(std::process::id())? })
    }

    /// CPU seconds of brokers and client since `self`.
    pub(crate) fn elapsed(self, broker_pids: &[u32]) -> anyhow::Result<(f64, f64)> {
        let end = Self::now(broker_pids)?;
        Ok((end.brokers - self.brokers, end.client - self.client))
    }
}
