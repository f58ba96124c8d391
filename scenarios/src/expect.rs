//! What must be so at a point of the story, in text.

use crate::decode;
use crate::script::{Args, PartitionName, Wrong};
use crate::world::{Progress, World};
use sordini_core::node::NodeState;

/// Compares the world with what `text` says of it.
pub(crate) fn run(world: &World, text: &str) -> Result<(), Wrong> {
    let (what, rest) = text.split_once(' ').unwrap_or((text, ""));
    match what {
        "answer" => answer(world, Args::of(rest)),
        "no" => no_answer(world, Args::of(rest)),
        "records" => records(world, rest),
        "partition" => partition(world, Args::of(rest)),
        "node" => node(world, Args::of(rest)),
        "file" => file(world, Args::of(rest)),
        "text" => file_text(world, rest),
        "read" => bytes_read(world, rest),
        "waiting" => waiting(world, Args::of(rest)),
        _ => Err(format!("'{what}' is nothing that can be expected")),
    }
}

/// The two sides of `name = value value`.
fn sides(text: &str) -> Result<(&str, &str), Wrong> {
    let (name, value) = text.split_once('=').ok_or("an = is missing")?;
    Ok((name.trim(), value.trim()))
}

fn compare(what: &str, expected: &str, found: &str) -> Result<(), Wrong> {
    if expected == found {
        return Ok(());
    }
    let or_nothing = |text: &str| if text.is_empty() { "nothing".to_owned() } else { format!("'{text}'") };
    Err(format!("{what}: expected {} and found {}", or_nothing(expected), or_nothing(found)))
}

/// `expect answer [by=NAME] ERROR [key=value]...`
fn answer(world: &World, mut args: Args<'_>) -> Result<(), Wrong> {
    let request = world.newest_request(args.value("by"))?;
    let answer = match &request.progress {
        Progress::Delivered(answer) => answer,
        Progress::AtNode => return Err(format!("the node has not answered {}", request.client)),
        Progress::WithoutAnswer => return Err(format!("{} asked for no answer", request.client)),
        Progress::Answered(_) => {
            return Err(format!("the answer to {} waits to be delivered", request.client));
        }
        Progress::Lost => return Err(format!("{} lost its connection before an answer", request.client)),
    };
    compare("the error", args.need("the error, or NONE,")?, answer.error)?;
    for (key, expected) in args.pairs() {
        let fact = answer.facts.iter().find(|(name, _)| *name == key);
        let (_, found) = fact.ok_or_else(|| format!("the answer says nothing of {key}: {answer}"))?;
        compare(key, expected, found)?;
    }
    args.finish()
}

/// `expect no answer [by=NAME]`
fn no_answer(world: &World, mut args: Args<'_>) -> Result<(), Wrong> {
    if args.need("answer")? != "answer" {
        return Err("expect no answer".to_owned());
    }
    let request = world.newest_request(args.value("by"))?;
    match &request.progress {
        Progress::AtNode | Progress::WithoutAnswer | Progress::Lost => {}
        Progress::Answered(body) => {
            return Err(format!("the node has answered {}: {}", request.client, decode::answer(body)));
        }
        Progress::Delivered(answer) => return Err(format!("{} has heard: {answer}", request.client)),
    }
    args.finish()
}

/// `expect records TOPIC-P = a b c`
fn records(world: &World, text: &str) -> Result<(), Wrong> {
    let (name, expected) = sides(text)?;
    let found = world.records(&PartitionName::parse(name)?)?;
    compare(&format!("the records of {name}"), expected, &found.join(" "))
}

/// `expect partition TOPIC-P [absent] [log-start=N] [high-watermark=N] [written=N] [durable=N] [log-end=N]`
fn partition(world: &World, mut args: Args<'_>) -> Result<(), Wrong> {
    let name = args.need("the partition")?;
    let ends = world.ends().get(name).ok_or_else(|| format!("{name} is not open"))?;
    for (key, expected) in args.pairs() {
        let end = ends.named().into_iter().find(|(name, _)| *name == key);
        let (_, found) = end.ok_or_else(|| format!("a partition has no {key}: {ends}"))?;
        compare(&format!("{key} of {name}"), expected, &found.to_string())?;
    }
    args.finish()
}

/// `expect node running|starting|stopping|stopped|failed|dead`
fn node(world: &World, mut args: Args<'_>) -> Result<(), Wrong> {
    let found = match world.state() {
        None => "dead",
        Some(NodeState::Starting | NodeState::Joining) => "starting",
        Some(NodeState::Running) => "running",
        Some(NodeState::Stopping) => "stopping",
        Some(NodeState::Stopped) => "stopped",
        Some(NodeState::Failed(_)) => "failed",
    };
    compare("the node", args.need("a state")?, found)?;
    args.finish()
}

/// `expect file FILE absent|present|[len=N] [durable=N]`
fn file(world: &World, mut args: Args<'_>) -> Result<(), Wrong> {
    let name = args.need("the file")?;
    let file = world.file(name);
    if args.flag("absent") {
        file.map_or(Ok(()), |file| Err(format!("{file} is there")))?;
        return args.finish();
    }
    let file = file?;
    let is_said = args.flag("present");
    let len = world.disk().contents(file.as_str()).ok_or("the file is gone")?.len();
    let found = [("len", len), ("durable", world.disk().durable_len(file.as_str()))];
    let mut said = usize::from(is_said);
    for (key, found) in found {
        if let Some(expected) = args.value(key) {
            compare(&format!("{key} of {file}"), expected, &found.to_string())?;
            said += 1;
        }
    }
    if said == 0 {
        return Err("absent, present, len=N or durable=N is missing".to_owned());
    }
    args.finish()
}

/// `expect text FILE = its lines with | between them`
fn file_text(world: &World, text: &str) -> Result<(), Wrong> {
    let (name, expected) = sides(text)?;
    let file = world.file(name)?;
    let bytes = world.disk().contents(file.as_str()).ok_or("the file is gone")?.all();
    let found = decode::text(&file, &bytes).ok_or_else(|| format!("{file} is not a text file"))?;
    compare(file.as_str(), expected, &found)
}

/// `expect read FILE = BYTES`: how much of it the process has read since it started
fn bytes_read(world: &World, text: &str) -> Result<(), Wrong> {
    let (name, expected) = sides(text)?;
    let file = world.file(name)?;
    compare(&format!("bytes read of {file}"), expected, &world.bytes_read(file.as_str()).to_string())
}

/// `expect waiting COUNT`: storage operations that wait
fn waiting(world: &World, mut args: Args<'_>) -> Result<(), Wrong> {
    let waiting: Vec<String> = world.waiting().map(decode::operation).collect();
    let expected = args.need("how many operations")?;
    compare(&format!("operations that wait ({})", waiting.join("; ")), expected, &waiting.len().to_string())?;
    args.finish()
}
