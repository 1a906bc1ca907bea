//! The integration tests: real processes of the built binary, real Kafka, real
//! Prometheus. `tests/run` fetches what they need; what a machine lacks is skipped
//! by name. One binary, so that they share a broker.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests fail by panicking and say what they skip"
)]

mod checker;
mod events;
mod faults;
mod figures;
mod figures_ownership;
mod figures_push;
mod figures_speed;
mod grafana;
mod house;
mod it_acls;
mod it_agent;
mod it_alerts;
mod it_alerts_delivery;
mod it_api;
mod it_broker;
mod it_catalogue;
mod it_check_kafka;
mod it_cli;
mod it_decode;
mod it_demo;
mod it_demo_prometheus;
mod it_deploy;
mod it_deploy_files;
mod it_dumps;
mod it_emitters;
mod it_events;
mod it_faults;
mod it_faults_cluster;
mod it_faults_scrapes;
mod it_faults_soak;
mod it_faults_time;
mod it_grafana;
mod it_grafana_story;
mod it_handover;
mod it_hole;
mod it_limits;
mod it_logs;
mod it_memory;
mod it_otel;
mod it_pages;
mod it_pipelines;
mod it_policy;
mod it_prometheus;
mod it_push;
mod it_pushgateway;
mod it_readme;
mod it_recreated;
mod it_schemas;
mod it_socket;
mod it_stale;
mod it_templates;
mod it_topics;
mod it_web_abuse;
mod it_web_tls;
mod push;
mod support;
mod support_tests;
