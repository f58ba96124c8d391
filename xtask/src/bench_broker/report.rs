//! What is measured, in which unit, what is wanted of it, and the table and JSON made of it.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::broker::Kind;

/// What a figure of ours must be.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    AtMost(f64),
    /// At least this many times the figure of Apache Kafka in the same run.
    TimesKafka(f64),
    /// At most this share of it.
    ShareOfKafka(f64),
    Nothing,
}

/// One line of the table.
#[derive(Debug)]
struct Metric {
    name: &'static str,
    title: &'static str,
    decimals: usize,
    wanted: Wanted,
}

const fn metric(name: &'static str, title: &'static str, decimals: usize, wanted: Wanted) -> Metric {
    Metric { name, title, decimals, wanted }
}

const METRICS: [Metric; 39] = [
    metric("start_ms", "start to first acknowledged produce, ms", 1, Wanted::AtMost(15.0)),
    metric("stop_ms", "clean stop, ms", 1, Wanted::AtMost(50.0)),
    metric("idle_mib", "idle resident memory, MiB", 1, Wanted::AtMost(12.0)),
    metric("produce_per_s", "produce 1 KiB, records/s", 0, Wanted::TimesKafka(3.0)),
    metric("produce_cpu", "  broker CPU s per million", 2, Wanted::AtMost(0.5)),
    metric("produce_client_cpu", "  client CPU s per million", 2, Wanted::Nothing),
    metric("idempotent_per_s", "produce 1 KiB idempotent, records/s", 0, Wanted::TimesKafka(3.0)),
    metric("idempotent_cpu", "  broker CPU s per million", 2, Wanted::AtMost(0.5)),
    metric("idempotent_client_cpu", "  client CPU s per million", 2, Wanted::Nothing),
    metric("idempotence_cost_percent", "  cost of idempotence, %", 1, Wanted::AtMost(5.0)),
    metric("small_per_s", "produce 100 bytes, records/s", 0, Wanted::TimesKafka(1.65)),
    metric("small_cpu", "  broker CPU s per million", 2, Wanted::Nothing),
    metric("small_client_cpu", "  client CPU s per million", 2, Wanted::Nothing),
    metric("read_per_s", "read 1 KiB, records/s", 0, Wanted::TimesKafka(2.9)),
    metric("read_cpu", "  broker CPU s per million", 2, Wanted::AtMost(0.3)),
    metric("read_client_cpu", "  client CPU s per million", 2, Wanted::Nothing),
    metric("latency_p50_ms", "end to end at 1,000/s, p50 ms", 3, Wanted::AtMost(0.15)),
    metric("latency_p90_ms", "  p90 ms", 3, Wanted::Nothing),
    metric("latency_p99_ms", "  p99 ms", 3, Wanted::AtMost(0.4)),
    metric("latency_p99_9_ms", "  p99.9 ms", 3, Wanted::AtMost(2.5)),
    metric("latency_max_ms", "  max ms", 3, Wanted::Nothing),
    metric("latency_cpu_percent", "  broker CPU, % of a core", 1, Wanted::Nothing),
    metric("latency_client_cpu_percent", "  client CPU, % of a core", 1, Wanted::Nothing),
    metric("replicated_mb_per_s", "produce 1 KiB to 3 replicas, MB/s", 1, Wanted::TimesKafka(1.5)),
    metric("replicated_cpu_per_gb", "  brokers' CPU s per GB", 2, Wanted::ShareOfKafka(0.33)),
    metric("replicated_client_cpu_per_gb", "  client CPU s per GB", 2, Wanted::Nothing),
    metric("replicated_idempotent_mb_per_s", "the same idempotent, MB/s", 1, Wanted::TimesKafka(1.5)),
    metric("replicated_idempotent_cpu_per_gb", "  brokers' CPU s per GB", 2, Wanted::ShareOfKafka(0.33)),
    metric("replicated_idempotent_client_cpu_per_gb", "  client CPU s per GB", 2, Wanted::Nothing),
    metric("replicated_latency_p50_ms", "end to end by 3 replicas, p50 ms", 3, Wanted::Nothing),
    metric("replicated_latency_p99_ms", "  p99 ms", 3, Wanted::Nothing),
    metric("replicated_latency_max_ms", "  max ms", 3, Wanted::Nothing),
    metric("replicated_latency_cpu_percent", "  brokers' CPU, % of a core", 1, Wanted::Nothing),
    metric("partitions_start_ms", "start with many partitions, ms", 1, Wanted::AtMost(2_000.0)),
    metric("partitions_stop_ms", "  clean stop, ms", 1, Wanted::Nothing),
    metric("partitions_kib", "  resident memory of each, KiB", 1, Wanted::AtMost(8.0)),
    metric("partitions_created_kib", "  when they were just created, KiB", 1, Wanted::Nothing),
    metric("replicated_partitions_kib", "each of as many by 3 brokers, KiB", 1, Wanted::AtMost(8.0)),
    metric("replicated_partitions_cpu_percent", "  idle CPU of a broker, % of a core", 1, Wanted::Nothing),
];

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    round: u32,
    broker: Kind,
    metric: &'static str,
    value: f64,
}

impl Samples {
    /// Keeps one measured value. `metric` is one of the table's names.
    pub(super) fn add(&mut self, round: u32, broker: Kind, metric: &str, value: f64) {
        let metric = METRICS.iter().find(|known| known.name == metric).expect("a metric of the table").name;
        self.0.push(Sample { round, broker, metric, value });
    }

    /// Adds what idempotence cost in `round`, in percent of the records per second without it.
    pub(super) fn add_idempotence_cost(&mut self, round: u32, broker: Kind) {
        let of = |metric| {
            let mut found =
                self.0.iter().filter(|s| s.round == round && s.broker == broker && s.metric == metric);
            found.next().map(|sample| sample.value)
        };
        if let (Some(plain), Some(idempotent)) = (of("produce_per_s"), of("idempotent_per_s")) {
            self.add(round, broker, "idempotence_cost_percent", (1.0 - idempotent / plain) * 100.0);
        }
    }

    fn values(&self, broker: Kind, metric: &str) -> Vec<f64> {
        let mut values: Vec<_> =
            self.0.iter().filter(|s| s.broker == broker && s.metric == metric).map(|s| s.value).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    fn median(&self, broker: Kind, metric: &str) -> Option<f64> {
        let values = self.values(broker, metric);
        let middle = values.len() / 2;
        match values.len() {
            0 => None,
            odd if odd % 2 == 1 => Some(values[middle]),
            _ => Some(f64::midpoint(values[middle - 1], values[middle])),
        }
    }

    /// The medians, one line for each metric, with what is wanted and whether it was reached.
    pub(super) fn table(&self, brokers: &[Kind]) -> String {
        let mut table = format!("{:<40}", "median");
        for broker in brokers {
            write!(table, "{:>14}", broker.name()).expect("writing to a string");
        }
        writeln!(table, "{:>10}  {:<16}", "x kafka", "wanted").expect("writing to a string");
        for metric in &METRICS {
            let medians: Vec<_> = brokers.iter().map(|broker| self.median(*broker, metric.name)).collect();
            if medians.iter().all(Option::is_none) {
                continue;
            }
            write!(table, "{:<40}", metric.title).expect("writing to a string");
            for median in medians {
                let shown = median.map_or_else(|| "-".into(), |value| grouped(value, metric.decimals));
                write!(table, "{shown:>14}").expect("writing to a string");
            }
            let times = self.times_kafka(metric.name).map_or_else(String::new, |times| format!("{times:.2}"));
            writeln!(table, "{times:>10}  {}", self.verdict(metric)).expect("writing to a string");
        }
        table
    }

    fn times_kafka(&self, metric: &str) -> Option<f64> {
        Some(self.median(Kind::Sordini, metric)? / self.median(Kind::Kafka, metric)?)
    }

    fn verdict(&self, metric: &Metric) -> String {
        let (wanted, met) = match metric.wanted {
            Wanted::Nothing => return String::new(),
            Wanted::AtMost(most) => {
                (format!("<= {most}"), self.median(Kind::Sordini, metric.name).map(|value| value <= most))
            }
            Wanted::ShareOfKafka(most) => {
                (format!("<= {most} x kafka"), self.times_kafka(metric.name).map(|times| times <= most))
            }
            Wanted::TimesKafka(least) => {
                (format!(">= {least} x kafka"), self.times_kafka(metric.name).map(|times| times >= least))
            }
        };
        let met = met.map_or("", |met| if met { "  met" } else { "  MISSED" });
        format!("{wanted:<16}{met}")
    }

    /// Medians and single values, for programs.
    pub(super) fn json(&self, brokers: &[Kind]) -> Value {
        let medians: Map<String, Value> = brokers
            .iter()
            .map(|broker| {
                let of_broker: Map<String, Value> = METRICS
                    .iter()
                    .filter_map(|metric| {
                        Some((metric.name.into(), json!(self.median(*broker, metric.name)?)))
                    })
                    .collect();
                (broker.name().into(), Value::Object(of_broker))
            })
            .collect();
        let samples: Vec<_> = self
            .0
            .iter()
            .map(|s| json!({"round": s.round, "broker": s.broker.name(), "metric": s.metric, "value": s.value}))
            .collect();
        json!({ "medians": medians, "samples": samples })
    }
}

/// A number with its thousands set apart.
pub(super) fn grouped(value: f64, decimals: usize) -> String {
    let plain = format!("{value:.decimals$}");
    let (whole, fraction) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = String::from(sign);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(grouped(1_234_567.0, 0), "1,234,567");
        assert_eq!(grouped(-1234.5, 1), "-1,234.5");
        assert_eq!(grouped(999.0, 0), "999");
    }

    #[test]
    fn the_median_of_an_even_number_of_values_is_the_mean_of_the_middle_two() {
        let mut samples = Samples::default();
        for value in [4.0, 1.0, 3.0, 100.0] {
            samples.add(1, Kind::Sordini, "start_ms", value);
        }
        assert_eq!(samples.median(Kind::Sordini, "start_ms"), Some(3.5));
        assert_eq!(samples.median(Kind::Kafka, "start_ms"), None);
    }
}
