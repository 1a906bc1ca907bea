//! `kafka2prom completions`
use clap::CommandFactory;

use super::Done;
use crate::cli::Cli;

pub(crate) fn run(shell: clap_complete::Shell) -> Done {
    clap_complete::generate(shell, &mut Cli::command(), "kafka2prom", &mut std::io::stdout());
    Ok(())
}
