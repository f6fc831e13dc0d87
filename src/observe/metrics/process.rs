//! What every process tells of itself, by the names of Prometheus's client libraries.
//!
//! Read from `/proc` when somebody asks; where there is none, the families have no value.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

/// Ticks a second in what `/proc` tells: `USER_HZ`, which is 100 on every architecture that Linux tells us apart from
/// itself (`proc(5)`; only alpha has another).
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
        let stat = read("/proc/self/stat");
        let cpu = encoder.encode_descriptor(
            "process_cpu",
            "Time on the processors",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        if let Some(seconds) = cpu_seconds(&stat) {
            ConstCounter::new(seconds).encode(cpu)?;
        }
        let open_fds = fs::read_dir("/proc/self/fd").map_or(None, |folder| {
            // The folder itself is open while it is read.
            Some(u32::try_from(folder.count()).ok()?.saturating_sub(1))
        });
        let gauges = [
            (
                "process_resident_memory",
                "Memory in use",
                Some(Unit::Bytes),
                resident_bytes(&read("/proc/self/status")),
            ),
            (
                "process_start_time",
                "When the process began, in Unix time",
                Some(Unit::Seconds),
                start_seconds(&stat, &read("/proc/stat")),
            ),
            (
                "process_open_fds",
                "Open file descriptors",
                None,
                open_fds.map(f64::from),
            ),
            (
                "process_max_fds",
                "File descriptors that may be open at once",
                None,
                fds_max(&read("/proc/self/limits")),
            ),
        ];
        for (name, help, unit, value) in gauges {
            let gauge = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            if let Some(value) = value {
                ConstGauge::new(value).encode(gauge)?;
            }
        }
        Ok(())
    }
}

/// A field of `/proc/self/stat` by its number in `proc(5)`. The name, field 2, may hold anything; the last bracket ends
/// it.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let index = number.checked_sub(3)?;
    rest.split_ascii_whitespace().nth(index)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_SECOND)
}

fn start_seconds(stat: &str, of_system: &str) -> Option<f64> {
    let booted: f64 = value(of_system, "btime")?.parse().ok()?;
    Some(booted + field(stat, 22)? / TICKS_PER_SECOND)
}

fn resident_bytes(status: &str) -> Option<f64> {
    let kibibytes: f64 = value(status, "VmRSS:")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// The soft limit; none where that is "unlimited".
fn fds_max(limits: &str) -> Option<f64> {
    value(limits, "Max open files")?.parse().ok()
}

/// The first word after `key` at the start of a line.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "7 (odd ) name) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 1234 1000 200 18446744073709551615";

    fn is(value: Option<f64>, expected: f64) -> bool {
        value.is_some_and(|value| (value - expected).abs() < 1e-9)
    }

    #[test]
    fn proc_is_read_as_its_manual_says() {
        assert!(is(cpu_seconds(STAT), 2.0));
        assert!(is(start_seconds(STAT, "cpu 1 2\nbtime 1000\n"), 1012.34));
        assert!(is(resident_bytes("Name:\tx\nVmRSS:\t  20 kB\n"), 20480.0));
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files   1024   4096   files\n";
        assert!(is(fds_max(limits), 1024.0));
    }

    #[test]
    fn whatever_is_not_there_has_no_value() {
        for text in ["", ")", "7 (x) S", "Max open files unlimited", "VmRSS:"] {
            assert_eq!(cpu_seconds(text), None);
            assert_eq!(start_seconds(text, text), None);
            assert_eq!(resident_bytes(text), None);
            assert_eq!(fds_max(text), None);
        }
    }
}
