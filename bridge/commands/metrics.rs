//! `kafka2prom metrics`: the catalogue that code and documentation share.
use k2p_runtime::metrics::{Catalogue, RUNTIME_METRICS};

use super::Done;
use crate::cli::{CatalogueFormat, MetricsArgs};

/// Every metric of the program.
pub(crate) fn catalogue() -> Catalogue {
    Catalogue(vec![
        RUNTIME_METRICS,
        k2p_server::metrics::SERVER_METRICS,
        k2p_agent::AGENT_METRICS,
        k2p_logs::LOG_METRICS,
    ])
}

pub(crate) fn run(args: &MetricsArgs) -> Done {
    match args.format {
        CatalogueFormat::Markdown => print!("{}", catalogue().render_markdown()),
        CatalogueFormat::Json => println!("{:#}", catalogue().to_json()),
    }
    Ok(())
}
