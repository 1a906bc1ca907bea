//! `kafka2prom serve`
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k2p_runtime::config::{Document, Reader};
use k2p_runtime::http::{self, web::Web};
use k2p_server::bridge::{self, Setup};
use k2p_server::config::{self, Config, Flags};
use k2p_server::expose::BuildInfo;
use tokio::net::TcpListener;

use super::process::{self, REVISION, VERSION};
use super::{Done, Failure};
use crate::cli::ServeArgs;

pub(crate) fn run(args: &ServeArgs) -> Done {
    let flags = flags(args);
    let config = load(args.config.as_deref(), &flags).map_err(Failure::Usage)?;
    let runtime = process::tokio_runtime()?;
    let done = runtime.block_on(async {
        let process = process::begin(&args.log, "kafka2prom")?;
        if args.end_with_stdin {
            process::end_with_stdin(&process.shutdown);
        }
        let open = |path: &Path| Web::open(path, &process.runtime.http).map_err(Failure::Usage);
        let web = config.web.config_file.as_deref().map(open).transpose()?;
        let guarded = web.as_ref().is_some_and(|web| web.authenticates());
        let listener = listen(config.web.listen_address(guarded)).await?;
        http::warn_if_open(listener.local_addr().map_err(Failure::failed)?, web.as_deref());
        let reload = args.config.clone().map(|path| {
            let flags = flags.clone();
            Arc::new(move || load(Some(&path), &flags).map_err(|faults| faults.join("\n"))) as bridge::Reload
        });
        let setup = Setup {
            listener,
            registry: process.registry.clone(),
            runtime: process.runtime.clone(),
            web,
            build: BuildInfo { version: VERSION.to_owned(), revision: REVISION.to_owned() },
            reload,
            on_stall: process::stalled(),
        };
        let ended = bridge::run(config, setup, process.shutdown.clone()).await;
        drop(process);
        ended.map_err(Failure::failed)
    });
    // A client that does not close (Kafka is away for good) must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Binds the web listener.
pub(crate) async fn listen(address: &str) -> Result<TcpListener, Failure> {
    let address = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    TcpListener::bind(&address).await.map_err(|e| {
        Failure::failed(format_args!("cannot listen on {address}: {e}; choose another --web.listen-address"))
    })
}

/// File and flags together; every fault of both at once.
pub(crate) fn load(path: Option<&Path>, flags: &Flags) -> Result<Config, Vec<String>> {
    let document = match path {
        Some(path) => k2p_runtime::config::load(path),
        None => Document::parse("", "", &|_| None, &|_| Err(std::io::ErrorKind::NotFound.into())),
    };
    let reader = Reader::new(document);
    if !reader.is_readable() {
        // Nothing else can be said; that a broker is missing would be untrue.
        return Err(reader.finish().err().map(|e| e.0.iter().map(ToString::to_string).collect()).unwrap_or_default());
    }
    let mut faults = Vec::new();
    let config = config::read(&reader.root(), flags, &mut faults);
    if let Err(errors) = reader.finish() {
        // What stands in the file comes first, in the order of its lines.
        faults.splice(0..0, errors.0.iter().map(ToString::to_string));
    }
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(faults),
    }
}

fn flags(args: &ServeArgs) -> Flags {
    Flags {
        brokers: args.kafka.brokers.clone(),
        group: args.group.clone(),
        properties: args.kafka.properties.clone(),
        topics: args.topics.clone(),
        listen: args.listen.clone(),
        advertise: args.advertise.clone(),
        external: args.external.clone(),
        route: args.route.clone(),
        admin_api: args.admin,
        web_config: args.web_config.clone(),
    }
}
