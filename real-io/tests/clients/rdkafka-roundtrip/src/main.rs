//! The `rdkafka` crate creates, writes and reads back its topics, and reads what other clients wrote.
//!
//! ```text
//! rdkafka-roundtrip roundtrip BOOTSTRAP COUNT BASE_MS
//! rdkafka-roundtrip read      BOOTSTRAP COUNT BASE_MS TOPIC...
//! ```
//!
//! The records are those `records.py` describes. Prints `ok …` or `FAIL …` per check.

use std::cell::RefCell;
use std::error::Error;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, Timestamp, TopicPartitionList};

const PARTITIONS: usize = 4;
const KCAT_GROUPS: u64 = 10;
const POOL_BYTES: usize = 512 * 1024;
/// How long one topic may take to write or to read.
const PATIENCE: Duration = Duration::from_secs(30);

fn splitmix64(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn fnv1a64(data: &[u8]) -> u64 {
    data.iter().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

fn pool() -> Vec<u8> {
    (0..(POOL_BYTES / 8) as u64).flat_map(|j| splitmix64(j).to_le_bytes()).collect()
}

type HeaderList = Vec<(String, Option<Vec<u8>>)>;

struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: HeaderList,
    /// None where the writer could not choose it.
    timestamp: Option<i64>,
}

struct Topic<'a> {
    name: &'a str,
    count: u64,
    base_ms: i64,
    pool: &'a [u8],
    seed: u64,
    kcat: bool,
    kafka_python: bool,
}

impl<'a> Topic<'a> {
    fn new(name: &'a str, count: u64, base_ms: i64, pool: &'a [u8]) -> Self {
        let (kcat, kafka_python) = (name.starts_with("kcat-"), name.starts_with("kafkapython-"));
        Self { name, count, base_ms, pool, seed: fnv1a64(name.as_bytes()), kcat, kafka_python }
    }

    fn draw(&self, i: u64, k: u64) -> u64 {
        splitmix64(self.seed.wrapping_add(16 * i).wrapping_add(k))
    }

    fn noise(&self, size: u64, draw: u64) -> Vec<u8> {
        let at = (draw % (POOL_BYTES as u64 - size)) as usize;
        self.pool[at..at + size as usize].to_vec()
    }

    fn group(&self, i: u64) -> u64 {
        i * KCAT_GROUPS / self.count
    }

    fn partition(&self, i: u64) -> usize {
        let draw = if self.kcat { self.group(i) } else { self.draw(i, 0) };
        (draw % PARTITIONS as u64) as usize
    }

    fn headers(&self, i: u64) -> HeaderList {
        let text = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let i_or_group = if self.kcat { self.group(i) } else { i };
        match i_or_group % 5 {
            0 => vec![],
            1 if self.kcat => vec![text("h", &format!("value-{i_or_group}"))],
            1 => vec![("h".to_owned(), Some(self.noise(self.draw(i, 6) % 33, self.draw(i, 7))))],
            2 => vec![
                text("dup", "first"),
                text("other", &i_or_group.to_string()),
                text("dup", "second"),
                text("dup", ""),
            ],
            3 => vec![("null".to_owned(), self.kafka_python.then(Vec::new)), text("empty", "")],
            _ => {
                let mut headers = vec![text("schl\u{fc}ssel", "wert-\u{2713}")];
                if !self.kcat {
                    headers.push(text("", "x"));
                }
                headers
            }
        }
    }

    fn key(&self, i: u64) -> Option<Vec<u8>> {
        match i % 10 {
            3 => None,
            4 => Some(vec![]),
            _ => {
                let mut key = format!("{}/{i}/", self.name).into_bytes();
                key.extend(self.noise(self.draw(i, 1) % 24, self.draw(i, 2)));
                Some(key)
            }
        }
    }

    fn value(&self, i: u64) -> Option<Vec<u8>> {
        match i % 50 {
            13 if self.kafka_python => return Some(vec![]),
            13 | 37 => return None,
            24 | 48 => return Some(vec![]),
            _ => {}
        }
        let draw = self.draw(i, 3);
        let size = if i % 2500 == 2499 { 102_400 + draw % 204_801 } else { draw % 2049 };
        if self.draw(i, 4) % 2 == 1 {
            return Some(self.noise(size, self.draw(i, 5)));
        }
        Some(format!("{} {i} ", self.name).into_bytes().into_iter().cycle().take(size as usize).collect())
    }

    fn record(&self, i: u64) -> Record {
        let (mut key, mut value) = (self.key(i), self.value(i));
        if self.kcat {
            let blank = (self.group(i) % 2 == 1).then(Vec::new);
            for side in [&mut key, &mut value] {
                if side.as_ref().is_none_or(Vec::is_empty) {
                    side.clone_from(&blank);
                }
            }
        }
        let timestamp = (!self.kcat).then_some(self.base_ms + i as i64);
        Record { key, value, headers: self.headers(i), timestamp }
    }

    /// The indexes of each partition, in the order of their offsets 0, 1, 2, …
    fn by_partition(&self) -> Vec<Vec<u64>> {
        let mut out = vec![vec![]; PARTITIONS];
        for i in 0..self.count {
            out[self.partition(i)].push(i);
        }
        out
    }
}

/// Collects the first delivery that failed.
#[derive(Default)]
struct Deliveries(std::sync::Mutex<Option<KafkaError>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0.lock().expect("no holder panics").get_or_insert_with(|| error.clone());
        }
    }
}

fn write(bootstrap: &str, topic: &Topic<'_>, codec: &str) -> Result<(), Box<dyn Error>> {
    // What each codec's producer promises differs, so that all kinds meet the broker.
    let (acks, idempotence) = match codec {
        "gzip" | "snappy" => ("all", "true"),
        "lz4" => ("all", "false"),
        _ => ("1", "false"),
    };
    let producer: BaseProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("compression.codec", codec)
        .set("acks", acks)
        .set("enable.idempotence", idempotence)
        .set("linger.ms", "10")
        .create_with_context(Deliveries::default())?;
    let deadline = Instant::now() + PATIENCE;
    for i in 0..topic.count {
        let r = topic.record(i);
        let mut headers = OwnedHeaders::new();
        for (key, value) in &r.headers {
            headers = headers.insert(Header { key, value: value.as_ref() });
        }
        let mut record: BaseRecord<'_, Vec<u8>, Vec<u8>> =
            BaseRecord::to(topic.name).partition(topic.partition(i) as i32).headers(headers);
        record.key = r.key.as_ref();
        record.payload = r.value.as_ref();
        record.timestamp = r.timestamp;
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) || Instant::now() > deadline {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(20));
            record = back;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    match producer.context().0.lock().expect("no holder panics").take() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// Reads `topic` from the given offsets to its end and compares every record.
fn read(consumer: &BaseConsumer, topic: &Topic<'_>, starts: Option<&[usize]>) -> Result<(), Box<dyn Error>> {
    let order = topic.by_partition();
    let mut next: Vec<usize> = starts.map_or_else(|| vec![0; PARTITIONS], <[usize]>::to_vec);
    let mut assignment = TopicPartitionList::new();
    for (partition, start) in next.iter().enumerate() {
        let offset = if starts.is_some() { Offset::Offset(*start as i64) } else { Offset::Beginning };
        assignment.add_partition_offset(topic.name, partition as i32, offset)?;
    }
    consumer.assign(&assignment)?;
    let deadline = Instant::now() + PATIENCE;
    let mut left: usize = order.iter().zip(&next).map(|(o, n)| o.len() - n).sum();
    while left > 0 {
        if Instant::now() > deadline {
            return Err(format!("{left} records missing after {PATIENCE:?}, read up to {next:?}").into());
        }
        let Some(message) = consumer.poll(Duration::from_millis(200)) else { continue };
        let message = message?;
        let partition = message.partition() as usize;
        let at = next[partition];
        let complain =
            |what: String| format!("{}-{partition} at offset {}: {what}", topic.name, message.offset());
        let Some(&i) = order[partition].get(at) else {
            return Err(complain("there are more records than were written".to_owned()).into());
        };
        let expected = topic.record(i);
        if message.offset() != at as i64 {
            return Err(complain(format!("the offset should be {at}")).into());
        }
        match (message.timestamp(), expected.timestamp) {
            (Timestamp::CreateTime(is), Some(should)) if is == should => {}
            (Timestamp::CreateTime(is), None) if is >= topic.base_ms => {}
            (is, should) => return Err(complain(format!("timestamp {is:?}, expected {should:?}")).into()),
        }
        if message.key() != expected.key.as_deref() {
            return Err(complain(format!("the key of record {i} differs")).into());
        }
        if message.payload() != expected.value.as_deref() {
            return Err(complain(format!("the value of record {i} differs")).into());
        }
        let headers: HeaderList = message.headers().map_or_else(Vec::new, |headers| {
            headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect()
        });
        if headers != expected.headers {
            return Err(complain(format!("headers {headers:?}, expected {:?}", expected.headers)).into());
        }
        next[partition] += 1;
        left -= 1;
    }
    Ok(())
}

fn consumer(bootstrap: &str) -> Result<BaseConsumer, KafkaError> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        // Required for assign(), but no group is joined and no offset committed.
        .set("group.id", "unused")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        // Far below the largest batch: a fetch must answer with at least one whole batch all the same.
        .set("fetch.message.max.bytes", "65536")
        .create()
}

/// The admin client answers with futures that librdkafka's own thread completes.
fn wait<F: Future>(future: F) -> F::Output {
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(out) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return out;
        }
        std::thread::park();
    }
}

fn create(bootstrap: &str, names: &[String]) -> Result<(), Box<dyn Error>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topics: Vec<NewTopic<'_>> =
        names.iter().map(|n| NewTopic::new(n, PARTITIONS as i32, TopicReplication::Fixed(1))).collect();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    for result in wait(admin.create_topics(&topics, &options))? {
        result.map_err(|(name, code)| format!("creating {name}: {code}"))?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, bootstrap, count, base_ms, names @ ..] = args.as_slice() else {
        return Err("usage: rdkafka-roundtrip roundtrip|read BOOTSTRAP COUNT BASE_MS [TOPIC...]".into());
    };
    let (count, base_ms, pool) = (count.parse()?, base_ms.parse()?, pool());
    let failures = RefCell::new(0);
    let say = |what: &str, result: Result<(), Box<dyn Error>>| match result {
        Ok(()) => println!("ok {what}"),
        Err(error) => {
            *failures.borrow_mut() += 1;
            println!("FAIL {what}: {error}");
        }
    };
    let consumer = consumer(bootstrap)?;
    match mode.as_str() {
        "roundtrip" => {
            let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
            let names = codecs.map(|codec| format!("rdkafka-{codec}"));
            say("its topics are created", create(bootstrap, &names));
            for (codec, name) in codecs.iter().zip(&names) {
                let topic = Topic::new(name, count, base_ms, &pool);
                let result = write(bootstrap, &topic, codec).and_then(|()| read(&consumer, &topic, None));
                say(&format!("{name}: {count} records written and read back"), result);
                let middle: Vec<usize> = topic.by_partition().iter().map(|o| o.len() / 2).collect();
                say(
                    &format!("{name}: read again from offsets {middle:?}"),
                    read(&consumer, &topic, Some(&middle)),
                );
            }
        }
        "read" => {
            for name in names {
                let topic = Topic::new(name, count, base_ms, &pool);
                say(&format!("reads {name}: {count} records"), read(&consumer, &topic, None));
            }
        }
        other => return Err(format!("unknown mode {other}").into()),
    }
    if *failures.borrow() > 0 {
        std::process::exit(1);
    }
    Ok(())
}
