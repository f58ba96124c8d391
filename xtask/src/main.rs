//! What developers run: `cargo xtask bench-broker|ci|codegen|tidy`.

mod bench_broker;
mod ci;
mod codegen;
mod tidy;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.split_first() {
        Some((task, rest)) if task == "bench-broker" => {
            bench_broker::run(rest).map_err(|error| format!("{error:#}"))
        }
        Some((task, rest)) if task == "ci" => ci::run(rest),
        Some((task, rest)) if task == "codegen" => codegen::run(rest),
        Some((task, rest)) if task == "tidy" => tidy::run(rest),
        _ => Err("usage: cargo xtask bench-broker|ci|codegen|tidy".to_string()),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}
