//! The world in words, where a reader is to see it.

use crate::decode::{self, Piece};
use crate::script::{Args, PartitionName, Wrong};
use crate::world::{WALL_MS_AT_START, World};
use bytes::Bytes;

/// Writes what `args` ask for into the transcript.
pub(crate) fn run(world: &mut World, args: &mut Args<'_>) -> Result<(), Wrong> {
    let lines = match args.need("what is to be shown")? {
        "log" => log(world, &directory(world, args)?),
        "indexes" => indexes(world, &directory(world, args)?),
        "producers" => producers(world, &directory(world, args)?),
        "files" => files(world, &directory(world, args)?),
        "checkpoints" => checkpoints(world),
        "node" => node(world),
        "waiting" => world.waiting().map(decode::operation).collect(),
        other => {
            let known = "log, indexes, producers, files, checkpoints, node, waiting";
            return Err(format!("'{other}' cannot be shown: {known}"));
        }
    };
    if lines.is_empty() {
        world.tell("is", "nothing");
    }
    for line in lines {
        world.tell("is", &line);
    }
    Ok(())
}

/// The directory of the partition that `args` name.
fn directory(world: &World, args: &mut Args<'_>) -> Result<String, Wrong> {
    let name = PartitionName::parse(args.need("the partition")?)?;
    let within = format!("/{name}/");
    let of = |path: &str| path.find(&within).map(|at| path[..at + within.len() - 1].to_owned());
    world.disk().paths().find_map(of).ok_or_else(|| format!("no file of {name} is on the disk"))
}

fn contents(world: &World, file: &str) -> Bytes {
    world.disk().contents(file).map(sordini_sim::disk::Contents::all).unwrap_or_default()
}

fn size(world: &World, file: &str) -> String {
    let (len, durable) = (contents(world, file).len() as u64, world.disk().durable_len(file));
    if len == durable {
        format!("{file}: {len} bytes, durable")
    } else {
        format!("{file}: {len} bytes, {durable} of them durable")
    }
}

/// The files of `dir` with names that end in `suffix`, in the order of their names.
fn files_with<'a>(world: &'a World, dir: &str, suffix: &'a str) -> impl Iterator<Item = &'a str> {
    world.disk().paths_beneath(dir).filter(move |file| file.ends_with(suffix))
}

fn log(world: &World, dir: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files_with(world, dir, ".log") {
        lines.push(size(world, file));
        for piece in decode::pieces(&contents(world, file)) {
            lines.push(match piece {
                Piece::Batch { position, batch, is_intact } => {
                    format!("  at {position}: {}", decode::batch_line(&batch, is_intact))
                }
                Piece::Rest { position, bytes } => {
                    let zeros = if bytes.iter().all(|byte| *byte == 0) { ", all of them zero" } else { "" };
                    format!("  at {position}: {} bytes that are no batch{zeros}", bytes.len())
                }
            });
        }
    }
    lines
}

fn base_of(file: &str) -> i64 {
    file.rsplit('/')
        .next()
        .and_then(|name| name.split('.').next())
        .and_then(|base| base.parse().ok())
        .unwrap_or(0)
}

fn indexes(world: &World, dir: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files_with(world, dir, ".index") {
        lines.push(size(world, file));
        let bytes = contents(world, file);
        for entry in bytes.as_chunks::<8>().0 {
            let [a, b, c, d, e, f, g, h] = *entry;
            let offset = base_of(file) + i64::from(i32::from_be_bytes([a, b, c, d]));
            lines.push(format!("  offset {offset} at {}", u32::from_be_bytes([e, f, g, h])));
        }
    }
    for file in files_with(world, dir, ".timeindex") {
        lines.push(size(world, file));
        let bytes = contents(world, file);
        for entry in bytes.as_chunks::<12>().0 {
            let (timestamp, offset) = entry.split_first_chunk::<8>().expect("twelve bytes begin with eight");
            let offset = offset.first_chunk::<4>().expect("and end with four");
            let after_ms = i64::from_be_bytes(*timestamp) - WALL_MS_AT_START;
            let offset = base_of(file) + i64::from(i32::from_be_bytes(*offset));
            lines.push(format!("  timestamp {after_ms} ms, offset {offset}"));
        }
    }
    lines
}

/// What the producer snapshots say: version, checksum and count, then 46 bytes for each producer.
fn producers(world: &World, dir: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files_with(world, dir, ".snapshot") {
        lines.push(size(world, file));
        let bytes = contents(world, file);
        for entry in bytes.get(10..).unwrap_or_default().as_chunks::<46>().0 {
            let (id, rest) = entry.split_first_chunk::<8>().expect("46 bytes begin with eight");
            let (epoch, rest) = rest.split_first_chunk::<2>().expect("then two");
            let (sequence, rest) = rest.split_first_chunk::<4>().expect("then four");
            let (offset, _) = rest.split_first_chunk::<8>().expect("then eight");
            let (id, epoch) = (i64::from_be_bytes(*id), i16::from_be_bytes(*epoch));
            let (sequence, offset) = (i32::from_be_bytes(*sequence), i64::from_be_bytes(*offset));
            lines.push(format!("  producer {id} epoch {epoch}: last sequence {sequence} at offset {offset}"));
        }
    }
    lines
}

fn files(world: &World, dir: &str) -> Vec<String> {
    world.disk().paths_beneath(dir).map(|file| size(world, file)).collect()
}

/// The small text files by which a node knows what it did before, those of the metadata log apart.
fn checkpoints(world: &World) -> Vec<String> {
    let is_checkpoint = |file: &&str| {
        !file.contains("__cluster_metadata-0")
            && (file.ends_with("-checkpoint") || file.ends_with("_cleanshutdown"))
    };
    let files = world.disk().paths().filter(is_checkpoint);
    let text = |file: &str| {
        let bytes = contents(world, file);
        String::from_utf8_lossy(&bytes).lines().collect::<Vec<_>>().join(" | ")
    };
    files.map(|file| format!("{file}: {}", text(file))).collect()
}

fn node(world: &World) -> Vec<String> {
    let state = world.state().map_or_else(|| "no process".to_owned(), |state| format!("{state:?}"));
    let partitions = world.ends().iter().map(|(name, ends)| format!("{name}: {ends}"));
    std::iter::once(state).chain(partitions).collect()
}
