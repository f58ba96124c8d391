//! What a step does.

use crate::clients::{self, Identity};
use crate::decode::{self, Piece};
use crate::script::{Args, PartitionName, Wrong, duration};
use crate::world::{Choice, NextFault, World};
use crate::{expect, groups, show};
use bytes::Bytes;
use sordini_core::storage_op::{StorageFault, StorageOp};
use sordini_sim::disk::Left;

/// Does one step of a script.
pub(crate) fn run(world: &mut World, text: &str) -> Result<(), Wrong> {
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    if verb == "expect" {
        return expect::run(world, rest.trim());
    }
    let mut args = Args::of(rest);
    match verb {
        "config" => config(world, &mut args)?,
        "start" => start(world)?,
        "restart" => restart(world)?,
        "stop" => world.stop()?,
        "crash" => crash(world, &mut args)?,
        "topic" => topic(world, &mut args)?,
        "producer" => producer(world, &mut args)?,
        "produce" => produce(world, &mut args)?,
        "fetch" => fetch(world, &mut args)?,
        "delete-records" => delete_records(world, &mut args)?,
        "find-coordinator" => groups::find_coordinator(world, &mut args)?,
        "join" => groups::join(world, &mut args)?,
        "sync" => groups::sync(world, &mut args)?,
        "heartbeat" => groups::heartbeat(world, &mut args)?,
        "leave" => groups::leave(world, &mut args)?,
        "commit" => groups::commit(world, &mut args)?,
        "committed" => groups::committed(world, &mut args)?,
        "describe-group" => groups::describe(world, &mut args)?,
        "delete-group" => groups::delete(world, &mut args)?,
        "complete-storage" => complete_storage(world, &mut args)?,
        "fail-next" => fail_next(world, &mut args)?,
        "damage" => damage(world, &mut args)?,
        "deliver" => world.deliver(args.word())?,
        "drop" => world.lose_answers(args.word())?,
        "advance" => world.advance(duration(args.need("how long")?)?)?,
        "stabilize" => {
            let is_quiet = args.flag("quietly");
            world.stabilize(is_quiet)?;
        }
        "show" => show::run(world, &mut args)?,
        _ => return Err(format!("there is no verb '{verb}'")),
    }
    args.finish()
}

fn config(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let pairs = args.pairs();
    if pairs.is_empty() {
        return Err("key=value is missing".to_owned());
    }
    pairs.into_iter().try_for_each(|(key, value)| world.configure(key, value))
}

fn start(world: &mut World) -> Result<(), Wrong> {
    if world.lives() > 0 {
        return Err("the node has lived before: restart".to_owned());
    }
    world.start()
}

fn restart(world: &mut World) -> Result<(), Wrong> {
    if world.lives() == 0 {
        return Err("the node has not lived before: start".to_owned());
    }
    world.start()
}

/// `crash kill`, `crash power-loss lose=unsynced|keep=all [torn=FILE:BYTES]... [zeroed=FILE]...`
fn crash(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    match args.need("kill or power-loss")? {
        "kill" => world.kill(),
        "power-loss" => {
            let usual = match (args.value("lose"), args.value("keep")) {
                (Some("unsynced"), None) => Left::Nothing,
                (None, Some("all")) => Left::All,
                _ => return Err("a loss of power needs lose=unsynced or keep=all".to_owned()),
            };
            let mut special = Vec::new();
            while let Some(torn) = args.value("torn") {
                let (file, bytes) = torn.rsplit_once(':').ok_or("torn=FILE:BYTES")?;
                let bytes = bytes.parse().map_err(|_| format!("'{bytes}' is not a number of bytes"))?;
                special.push((world.file(file)?, Left::First(bytes)));
            }
            while let Some(file) = args.value("zeroed") {
                special.push((world.file(file)?, Left::Zeros));
            }
            let of =
                |name: &str| special.iter().find(|(file, _)| file.as_str() == name).map(|(_, left)| *left);
            world.lose_power(|name| of(name).unwrap_or(usual));
            Ok(())
        }
        other => Err(format!("'{other}' is neither kill nor power-loss")),
    }
}

fn topic(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let name = args.need("the topic's name")?;
    let partitions = args.number("partitions")?.unwrap_or(1);
    let configs = args.pairs();
    let with: String = configs.iter().map(|(key, value)| format!(" {key}={value}")).collect();
    let told = format!("create topic {name}, partitions={partitions}{with}");
    let request = clients::create_topic(name, partitions, &configs);
    world.ask("admin", &told, clients::CREATE_TOPICS_VERSION, request)
}

fn producer(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let name = args.need("the producer's name")?;
    if !args.flag("idempotent") {
        return Err(
            "only an idempotent producer has to introduce itself: producer NAME idempotent".to_owned()
        );
    }
    *world.client(name) = clients::Client { is_idempotent: true, ..clients::Client::default() };
    world.ask(name, "give me a producer id", clients::INIT_PRODUCER_ID_VERSION, clients::init_producer_id())
}

/// `produce TOPIC-P values=a,b [acks=all|1|0] [timeout=5s] [producer=NAME]`, `produce TOPIC-P again [producer=NAME]`
fn produce(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let partition = PartitionName::parse(args.need("the partition")?)?;
    let name = args.value("producer").unwrap_or("client");
    let acks_text = args.value("acks").unwrap_or("all");
    let acks = match acks_text {
        "all" => -1,
        other => other.parse().map_err(|_| format!("acks={other} is neither all, 1 nor 0"))?,
    };
    let timeout_us = args.value("timeout").map_or(Ok(30_000_000), duration)?;
    let timeout_ms = i32::try_from(timeout_us / 1_000).map_err(|_| "the timeout is too long")?;
    let wall_ms = world.wall_ms();
    let is_again = args.flag("again");
    let client = world.client(name);
    let (batch, told) = match args.value("values") {
        Some(values) if !is_again => {
            let values: Vec<&str> = values.split(',').collect();
            let numbering = numbering(client, name, &partition, values.len())?;
            let batch = clients::batch(&values, wall_ms, numbering);
            let numbered = numbering.map_or(String::new(), |(_, sequence)| format!(", sequence {sequence}"));
            (batch, format!("{}{numbered}", values.join(" ")))
        }
        None if is_again => {
            let sent = client.sent.get(&partition).cloned();
            sent.ok_or_else(|| format!("{name} has sent nothing to {partition} that it could send again"))?
        }
        _ => return Err("either values=a,b or again".to_owned()),
    };
    client.sent.insert(partition.clone(), (batch.clone(), told.clone()));
    let again = if is_again { "again " } else { "" };
    let told = format!("produce {again}to {partition} acks={acks_text}: {told}");
    world.ask(name, &told, clients::PRODUCE_VERSION, clients::produce(&partition, acks, timeout_ms, batch))
}

/// The number of the next batch of `count` records, if its producer numbers them.
fn numbering(
    client: &mut clients::Client,
    name: &str,
    partition: &PartitionName,
    count: usize,
) -> Result<Option<(Identity, i32)>, Wrong> {
    if !client.is_idempotent {
        return if name == "client" {
            Ok(None)
        } else {
            Err(format!("nobody is called {name}: producer {name} idempotent"))
        };
    }
    let identity = client.identity.ok_or_else(|| format!("{name} has not heard its producer id yet"))?;
    let next = client.sequences.entry(partition.clone()).or_insert(0);
    let sequence = *next;
    *next += i32::try_from(count).map_err(|_| "too many records")?;
    Ok(Some((identity, sequence)))
}

/// `fetch TOPIC-P from=N [max-wait=500ms] [consumer=NAME]`
fn fetch(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let partition = PartitionName::parse(args.need("the partition")?)?;
    let from = args.number("from")?.ok_or("from=OFFSET is missing")?;
    let max_wait_us = args.value("max-wait").map_or(Ok(0), duration)?;
    let max_wait_ms = i32::try_from(max_wait_us / 1_000).map_err(|_| "the wait is too long")?;
    let name = args.value("consumer").unwrap_or("consumer");
    let told = format!("fetch {partition} from {from}");
    world.ask(name, &told, clients::FETCH_VERSION, clients::fetch(&partition, from, max_wait_ms, 1))
}

fn delete_records(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let partition = PartitionName::parse(args.need("the partition")?)?;
    let before = args.number("before")?.ok_or("before=OFFSET is missing")?;
    let told = format!("delete records of {partition} before {before}");
    let request = clients::delete_records(&partition, before);
    world.ask("admin", &told, clients::DELETE_RECORDS_VERSION, request)
}

/// `complete-storage [all|COUNT] [KIND] [PATH]`, `complete-storage until KIND PATH`
fn complete_storage(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    if args.flag("until") {
        let kind = operation_kind(args)?;
        let path = decode::padded(args.need("the path")?);
        return world.complete_until(kind, &path);
    }
    let mut choice = Choice::default();
    for word in args.rest() {
        if word == "all" {
            choice.count = None;
        } else if let Ok(count) = word.parse() {
            choice.count = Some(count);
        } else if decode::KINDS.contains(&word) {
            choice.kind = Some(word);
        } else {
            choice.path = Some(word);
        }
    }
    let path = choice.path.map(decode::padded);
    world.complete(&Choice { path: path.as_deref(), ..choice })
}

/// `fail-next KIND PATH io|no-space [after=BYTES]`
fn fail_next(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let kind = operation_kind(args)?;
    let path = decode::padded(args.need("the path")?);
    let fault = match args.need("io or no-space")? {
        "io" => StorageFault::Io,
        "no-space" => StorageFault::NoSpace,
        other => return Err(format!("'{other}' is neither io nor no-space")),
    };
    let after_bytes = args.number("after")?.unwrap_or(0);
    world.fail_next(NextFault { kind: kind.to_owned(), path, fault, after_bytes });
    Ok(())
}

fn operation_kind<'a>(args: &mut Args<'a>) -> Result<&'a str, Wrong> {
    let kind = args.need("the kind of operation")?;
    if decode::KINDS.contains(&kind) {
        return Ok(kind);
    }
    Err(format!("'{kind}' is no operation: {}", decode::KINDS.join(", ")))
}

/// `damage FILE flip at=BYTE|offset=OFFSET`, `damage FILE cut at=BYTES`, `damage FILE zero`, `damage FILE delete`
fn damage(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let file = world.file(args.need("the file")?)?;
    let mut bytes = world.disk().contents(file.as_str()).ok_or("the file is gone")?.all().to_vec();
    let op = match args.need("flip, cut, zero or delete")? {
        "flip" => {
            let at = match (args.number::<usize>("at")?, args.number::<i64>("offset")?) {
                (Some(at), None) => at,
                (None, Some(offset)) => last_byte_of(&Bytes::from(bytes.clone()), offset)?,
                _ => return Err("which byte? at=BYTE or offset=OFFSET".to_owned()),
            };
            *bytes.get_mut(at).ok_or_else(|| format!("the file has no byte {at}"))? ^= 1;
            world.tell("harm", &format!("one bit of byte {at} of {file} flips"));
            StorageOp::Replace { file, bytes: Bytes::from(bytes) }
        }
        "cut" => {
            let at: usize = args.number("at")?.ok_or("at=BYTES is missing")?;
            world.tell("harm", &format!("{file} is cut from {} to {at} bytes", bytes.len()));
            bytes.truncate(at);
            StorageOp::Replace { file, bytes: Bytes::from(bytes) }
        }
        "zero" => {
            world.tell("harm", &format!("the {} bytes of {file} become zeros", bytes.len()));
            StorageOp::Replace { file, bytes: Bytes::from(vec![0; bytes.len()]) }
        }
        "delete" => {
            world.tell("harm", &format!("{file} is deleted"));
            StorageOp::Remove { path: file }
        }
        other => return Err(format!("'{other}' is no damage: flip, cut, zero, delete")),
    };
    world.damage(op)
}

/// Where the batch that holds `offset` ends: a byte of its last record's value.
fn last_byte_of(file: &Bytes, offset: i64) -> Result<usize, Wrong> {
    let holds = |piece: Piece| match piece {
        Piece::Batch { position, batch, .. } => {
            let header = batch.header();
            let range = header.base_offset..=header.last_offset();
            // The last byte of a record is its count of headers; the one before belongs to its value.
            range.contains(&offset).then(|| position + header.size() - 2)
        }
        Piece::Rest { .. } => None,
    };
    decode::pieces(file)
        .into_iter()
        .find_map(holds)
        .ok_or_else(|| format!("no batch there holds offset {offset}"))
}
