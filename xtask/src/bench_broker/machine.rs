//! What the machine is, and whether anything else keeps it busy.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Above this share of busy processor time before a round, the round's figures are doubtful.
pub(super) const QUIET_PERCENT: f64 = 5.0;

/// The facts that a figure depends on.
pub(super) fn facts() -> Value {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    json!({
        "cpu": field(&cpus, "model name").unwrap_or("unknown"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_kib": field(&memory, "MemTotal").and_then(kib),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "load_average": load_average(),
    })
}

/// The load averages of the last 1, 5 and 15 minutes.
fn load_average() -> Vec<f64> {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).filter_map(|load| load.parse().ok()).collect()
}

/// The share of the processors' time, in percent, that something used (or the hypervisor took) during `interval`.
pub(super) fn busy_percent(interval: Duration) -> Result<f64> {
    let (busy_before, total_before) = cpu_ticks()?;
    std::thread::sleep(interval);
    let (busy, total) = cpu_ticks()?;
    Ok((busy - busy_before) as f64 / (total - total_before).max(1) as f64 * 100.0)
}

/// Ticks that all processors together were busy, and ticks altogether, since boot.
fn cpu_ticks() -> Result<(u64, u64)> {
    let stat = fs::read_to_string("/proc/stat")?;
    let first = stat.lines().next().context("/proc/stat is empty")?;
    // user nice system idle iowait irq softirq steal; guest time is part of user time.
    let ticks: Vec<u64> = first.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    let [_, _, _, idle, iowait, ..] = ticks[..] else { anyhow::bail!("/proc/stat has a shape unknown here") };
    let total = ticks.iter().sum::<u64>();
    Ok((total - idle - iowait, total))
}

/// Resident memory of process `pid` in MiB.
pub(super) fn resident_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = field(&status, "VmRSS").and_then(kib).with_context(|| format!("no VmRSS in {path}"))?;
    Ok(kib as f64 / 1024.0)
}

/// CPU seconds that process `pid` has used.
pub(super) fn cpu_seconds(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is the command in parentheses and may hold spaces: count from behind it.
    let fields = stat.rsplit_once(')').with_context(|| format!("no command in {path}"))?.1;
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse().ok()).collect();
    let [user, system] = ticks[..] else { anyhow::bail!("{path} has a shape unknown here") };
    Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

fn kib(value: &str) -> Option<u64> {
    value.strip_suffix("kB")?.trim().parse().ok()
}
