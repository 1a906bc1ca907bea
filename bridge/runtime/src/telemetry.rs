//! stub
use std::time::Duration; use prometheus::*; use tracing_subscriber::prelude::*; use tracing_subscriber::field::Visit;
pub enum LogFormat{Logfmt,Json} pub enum OtelProtocol{Http,Grpc}
pub struct TelemetryConfig { pub level: String, pub format: LogFormat, pub otel_endpoint: Option<String>, pub otel_protocol: OtelProtocol, pub sample_ratio: f64, pub service_name: String, pub metrics_interval: Duration }
pub struct TelemetryGuard; #[derive(Debug,thiserror::Error)] #[error("t")] pub struct TelemetryError;
struct L; struct V(String); impl Visit for V { fn record_debug(&mut self,f:&tracing::field::Field,v:&dyn std::fmt::Debug){ use std::fmt::Write; let n=if f.name()=="message"{"msg"}else{f.name()}; if n=="msg"{ self.0.insert_str(0,&format!("{n}={v:?} ")); } else { let _=write!(self.0,"{n}={v:?} "); } } }
impl<S:tracing::Subscriber> tracing_subscriber::Layer<S> for L { fn on_event(&self,e:&tracing::Event<'_>,_:tracing_subscriber::layer::Context<'_,S>){ let mut v=V(String::new()); e.record(&mut v); use std::io::Write; let _=writeln!(std::io::stderr(),"ts={} level={} {}",crate::clock::unix_ms(),e.metadata().level().as_str().to_lowercase(),v.0); } }
pub fn init<T>(c: TelemetryConfig,_:&Registry,_:T)->std::result::Result<TelemetryGuard,TelemetryError>{ let _=tracing_subscriber::registry().with(tracing_subscriber::EnvFilter::new(c.level)).with(L).try_init(); Ok(TelemetryGuard) }
