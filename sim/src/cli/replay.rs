//! `cargo sim replay`: a run step by step, forward and back. A world is a value, and some of those that were passed are
//! kept: to step back is to go on from the last one that is early enough.

use sordini_sim::plan::Plan;
use sordini_sim::sweep::{Verdict, catch};
use sordini_sim::trace::Telling;
use sordini_sim::world::World;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

pub(crate) const COMMANDS: &str = "\
COMMANDS, read from standard input
  n [COUNT]   the next event, or so many; an empty line is n
  b [COUNT]   back by an event, or by so many
  g SECONDS   to the first event at or after a virtual time, forward or back
  e           to the end
  p [COUNT]   where it is, and the last lines that were told, 20 if not said
  q           end";

/// How many worlds are kept at most. If there are more, every second one goes.
const KEPT_MAX: usize = 64;

pub(crate) fn replay(plan: &Plan) -> Result<u8, String> {
    let mut run = match catch(|| Run::new(plan)) {
        Ok(run) => run,
        Err(panic) => {
            let verdict = Verdict::Panicked(panic);
            say!("the run is over: {}", verdict.line());
            return Ok(verdict.exit_code());
        }
    };
    let input = std::io::stdin();
    let prompts = input.is_terminal();
    loop {
        if prompts {
            eprint!("{} > ", run.place());
            let _ = std::io::stderr().flush();
        }
        let mut text = String::new();
        if input.lock().read_line(&mut text).map_err(|error| error.to_string())? == 0 {
            break;
        }
        match parse(text.trim()) {
            Ok(Step::Quit) => break,
            Ok(step) => run.go(&step),
            // A typing error ends nothing.
            Err(problem) => eprintln!("{problem}\n{COMMANDS}"),
        }
    }
    Ok(run.exit_code())
}

#[derive(Debug, PartialEq)]
enum Step {
    Next(u64),
    Back(u64),
    To { at_us: u64 },
    End,
    Print(usize),
    Quit,
}

fn parse(text: &str) -> Result<Step, String> {
    let mut words = text.split_whitespace();
    let command = words.next().unwrap_or("n");
    let argument = words.next();
    if words.next().is_some() {
        return Err(format!("too much is said in {text:?}"));
    }
    let count = |usual: u64| match argument {
        None => Ok(usual),
        Some(word) => word.parse::<u64>().map_err(|_| format!("{word} is not a number")),
    };
    match command {
        "n" => Ok(Step::Next(count(1)?)),
        "b" => Ok(Step::Back(count(1)?)),
        "g" => Ok(Step::To { at_us: time(argument.ok_or("g needs a time")?)? }),
        "e" => Ok(Step::End),
        "p" => Ok(Step::Print(usize::try_from(count(20)?).unwrap_or(usize::MAX))),
        "q" => Ok(Step::Quit),
        other => Err(format!("{other} is no command")),
    }
}

/// Seconds with a fraction, in microseconds.
fn time(word: &str) -> Result<u64, String> {
    let no_time = || format!("{word} is no time in seconds");
    let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
    if fraction.len() > 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(no_time());
    }
    let whole: u64 = whole.parse().map_err(|_| no_time())?;
    let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| no_time())?;
    whole.checked_mul(1_000_000).and_then(|us| us.checked_add(fraction)).ok_or_else(no_time)
}

/// A run, and some of what it has been.
struct Run {
    world: World,
    /// How many events have happened.
    events: u64,
    /// What it came to, once it is over.
    end: Option<Verdict>,
    /// Worlds that were passed, with their numbers of events, from the beginning on.
    kept: Vec<(u64, World)>,
    /// Every how many events a world is kept.
    keep_every: u64,
}

impl Run {
    fn new(plan: &Plan) -> Self {
        let world = World::new(plan, Telling::Everything);
        Self { kept: vec![(0, world.clone())], world, events: 0, end: None, keep_every: 64 }
    }

    fn place(&self) -> String {
        let (seconds, micros) = (self.world.now() / 1_000_000, self.world.now() % 1_000_000);
        format!("event {} at {seconds}.{micros:06}", self.events)
    }

    fn go(&mut self, step: &Step) {
        let told = match step {
            Step::Print(count) => {
                say!("{}, hash {:016x}", self.place(), self.world.trace().hash());
                self.world.trace().lines().len().saturating_sub(*count)
            }
            Step::Back(count) => {
                self.back_to(self.events.saturating_sub(*count));
                say!("{}", self.place());
                self.world.trace().lines().len().saturating_sub(1)
            }
            Step::To { at_us } if *at_us <= self.world.now() => {
                self.back_before(*at_us);
                say!("{}", self.place());
                self.world.trace().lines().len().saturating_sub(1)
            }
            Step::Next(_) | Step::To { .. } | Step::End | Step::Quit => {
                let told = self.world.trace().lines().len();
                let last = match step {
                    Step::Next(count) => self.events.saturating_add(*count),
                    Step::Back(_) | Step::To { .. } | Step::End | Step::Print(_) | Step::Quit => u64::MAX,
                };
                let until = if let Step::To { at_us } = step { *at_us } else { u64::MAX };
                while self.events < last && self.world.now() < until && self.next() {}
                told
            }
        };
        for line in &self.world.trace().lines()[told..] {
            say!("{}", line.to_text());
        }
        if let Some(verdict) = &self.end {
            say!("the run is over: {}", verdict.line());
        }
    }

    /// Lets an event happen, if there is one.
    fn next(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.end = match catch(|| self.world.go_on()) {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(Verdict::Passed),
            Ok(Err(failure)) => Some(Verdict::Failed(failure)),
            Err(panic) => Some(Verdict::Panicked(panic)),
        };
        self.events += 1;
        let newest = self.kept.last().map_or(0, |(events, _)| *events);
        if self.end.is_none() && self.events >= newest + self.keep_every {
            self.kept.push((self.events, self.world.clone()));
            if self.kept.len() > KEPT_MAX {
                let mut places = 0_usize..;
                self.kept.retain(|_| places.next().is_some_and(|place| place.is_multiple_of(2)));
                self.keep_every *= 2;
            }
        }
        self.end.is_none()
    }

    fn back_to(&mut self, events: u64) {
        let place = self.kept.iter().rposition(|(kept, _)| *kept <= events).unwrap_or(0);
        let (at, world) = &self.kept[place];
        (self.events, self.world, self.end) = (*at, world.clone(), None);
        while self.events < events && self.next() {}
    }

    /// Goes to the first event at or after a time that is past.
    fn back_before(&mut self, at_us: u64) {
        let place = self.kept.iter().rposition(|(_, world)| world.now() < at_us).unwrap_or(0);
        let (at, world) = &self.kept[place];
        (self.events, self.world, self.end) = (*at, world.clone(), None);
        while self.world.now() < at_us && self.next() {}
    }

    fn exit_code(&self) -> u8 {
        self.end.as_ref().map_or(0, Verdict::exit_code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_short_and_what_is_none_is_said() {
        assert_eq!(parse(""), Ok(Step::Next(1)));
        assert_eq!(parse("n 12"), Ok(Step::Next(12)));
        assert_eq!(parse("g 2.5"), Ok(Step::To { at_us: 2_500_000 }));
        assert_eq!(parse("g 0.000001"), Ok(Step::To { at_us: 1 }));
        for wrong in ["g", "g x", "g 1.0000001", "n x", "z", "n 1 2", "g 99999999999999999999"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_step_back_and_forth_leads_to_the_same_world() {
        let mut run = Run::new(&Plan::draw(5));
        run.keep_every = 4;
        let mut passed = Vec::new();
        while run.next() {
            passed.push((run.events, run.world.now(), run.world.trace().hash()));
        }
        let all = run.events;
        assert!(run.kept.len() <= KEPT_MAX && run.keep_every > 4, "{} worlds are kept", run.kept.len());
        for (events, now, hash) in passed.iter().step_by(37).rev().chain(passed.iter().step_by(61)) {
            run.back_to(*events);
            assert_eq!((run.events, run.world.now(), run.world.trace().hash()), (*events, *now, *hash));
        }
        let (_, middle, _) = passed[passed.len() / 2];
        run.back_before(middle);
        assert_eq!(run.world.now(), middle);
        while run.next() {}
        assert_eq!(run.events, all);
    }
}
