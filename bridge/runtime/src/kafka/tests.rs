use super::*;
use crate::metrics::RuntimeMetrics;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, DefaultProducerContext};

fn make(brokers: &str, properties: &[(&str, &str)]) -> Result<KafkaConfig, KafkaConfigErrors> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let properties = properties.iter().map(own).collect();
    KafkaConfig::new(brokers, Some("g"), properties, KafkaTimings::default())
}

fn with(properties: &[(&str, &str)]) -> KafkaConfig {
    make("a:9092", properties).unwrap()
}

fn refused(properties: &[(&str, &str)]) -> String {
    make("a:9092", properties).unwrap_err().to_string()
}

#[test]
fn brokers_are_a_list_of_addresses() {
    assert_eq!(make("a:9092", &[]).unwrap().brokers(), "a:9092");
    assert_eq!(make("a:9092, [::1]:9093", &[]).unwrap().brokers(), "a:9092,[::1]:9093");
    let said = |brokers: &str, text: &str| {
        assert_eq!(make(brokers, &[]).unwrap_err().to_string(), text);
    };
    said("", "brokers: entry 1 is no broker's address HOST:PORT (found \"\"); add a colon and the port");
    said(
        "a:9092,kafka",
        "brokers: entry 2 is no broker's address HOST:PORT (found \"kafka\"); add a colon and the port",
    );
    said(
        "http://a:9092",
        "brokers: entry 1 is no broker's address HOST:PORT (found \"http://a:9092\"); \
         leave the scheme out: only the host and the port belong here",
    );
    let errors = make(",a:0,", &[]).unwrap_err();
    assert_eq!(errors.0.len(), 3);
    assert!(errors.0.iter().all(|error| error.subject == Subject::Brokers));
    assert!(errors.0.iter().all(|error| !error.message.contains("a:0")), "no values in messages");
}

#[test]
fn a_group_has_a_name() {
    let group = |name: &str| KafkaConfig::new("a:1", Some(name), BTreeMap::new(), KafkaTimings::default()).is_ok();
    assert!(group("kafka2prom"));
    assert!(group("prod eu/1"));
    assert!(!group(""));
    assert!(!group(" "));
    assert!(!group("a\nb"));
    assert!(!group(&"x".repeat(256)));
}

#[test]
fn what_the_protocol_owns_is_refused_with_a_remedy() {
    let no = |name: &str, value: &str, remedy: &str| {
        let error = refused(&[(name, value)]);
        assert!(error.contains(name) && error.contains(remedy), "{error}");
        assert!(error.contains("the process owns it"), "{error}");
    };
    no("bootstrap.servers", "b:1", "set brokers");
    no("metadata.broker.list", "b:1", "set brokers");
    no("group.id", "x", "set group");
    no("group.instance.id", "x", "dynamic");
    no("enable.auto.commit", "true", "exposed");
    no("enable.auto.commit", "false", "remove it");
    no("enable.auto.offset.store", "true", "exposed");
    no("auto.commit.interval.ms", "1", "lease");
    no("auto.offset.reset", "latest", "marker");
    no("enable.partition.eof", "false", "end");
    no("partition.assignment.strategy", "range", "cooperative-sticky");
    no("group.protocol", "share", "classic");
    no("partitioner", "consistent_random", "murmur2_random");
    no("enable.idempotence", "false", "order");
    no("acks", "1", "replicas");
    no("transactional.id", "t", "transactions");
    no("topic.metadata.refresh.interval.ms", "300000", "10 s");
    // The same value as the house's is no contradiction.
    with(&[("partition.assignment.strategy", "cooperative-sticky"), ("acks", "all")]);
    with(&[("partitioner", "murmur2_random"), ("enable.idempotence", "true")]);
}

#[test]
fn librdkafka_knows_its_properties_and_values() {
    with(&[("security.protocol", "SASL_SSL"), ("sasl.mechanism", "PLAIN")]);
    with(&[("fetch.wait.max.ms", "250"), ("linger.ms", "100"), ("isolation.level", "read_uncommitted")]);
    let said = |name: &str, value: &str, text: &str| assert_eq!(refused(&[(name, value)]), text);
    said(
        "security.protocl",
        "ssl",
        "property security.protocl: is no property of librdkafka; did you mean security.protocol?",
    );
    said(
        "no.such.thing",
        "1",
        "property no.such.thing: is no property of librdkafka; \
         see librdkafka's CONFIGURATION.md for the names",
    );
    said(
        "fetch.wait.max.ms",
        "-5",
        "property fetch.wait.max.ms: has a value that librdkafka refuses; \
         write a number in the range 0..300000",
    );
    let two = make("nope", &[("nope", "1"), ("group.id", "x")]).unwrap_err();
    assert_eq!(two.0.len(), 3, "{two}");
}

#[test]
fn no_value_is_ever_shown() {
    let config = with(&[("sasl.password", "hunter2"), ("client.rack", "hunter2")]);
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(format!("{config:?}").contains("sasl.password"));
    for name in ["security.protocol", "fetch.wait.max.ms", "acks", "sasl.pasword"] {
        let error = refused(&[(name, "hunter2")]);
        assert!(!error.contains("hunter2"), "{error}");
    }
    for name in ["sasl.password", "ssl.key.password", "ssl.key.pem", "ssl.keystore.password"] {
        assert!(is_secret(name), "{name}");
    }
    assert!(is_secret("sasl.oauthbearer.client.secret"));
    assert!(!is_secret("sasl.username") && !is_secret("ssl.ca.location"));
}

#[test]
fn the_measured_settings_are_set() {
    let consumer = with(&[]).consumer_config();
    let is = |name: &str, value: &str| assert_eq!(consumer.get(name), Some(value), "{name}");
    is("bootstrap.servers", "a:9092");
    is("group.id", "g");
    is("enable.auto.commit", "false");
    is("auto.offset.reset", "earliest");
    is("partition.assignment.strategy", "cooperative-sticky");
    is("session.timeout.ms", "15000");
    is("max.poll.interval.ms", "15000");
    is("heartbeat.interval.ms", "300");
    is("queued.max.messages.kbytes", "16384");
    is("topic.metadata.refresh.interval.ms", "10000");
    let producer = with(&[]).producer_config();
    let is = |name: &str, value: &str| assert_eq!(producer.get(name), Some(value), "{name}");
    is("partitioner", "murmur2_random");
    is("enable.idempotence", "true");
    is("acks", "all");
    is("compression.codec", "zstd");
    assert_eq!(producer.get("group.id"), None);
    assert_eq!(with(&[]).watch_config().get("group.id"), None);
    assert_eq!(with(&[]).side_config().get("group.id"), Some("g"));
    let named = with(&[]).with_client_id("bridge-0").admin_config();
    assert_eq!(named.get("client.id"), Some("bridge-0"));
}

#[test]
fn properties_go_where_they_belong() {
    let config = with(&[
        ("sasl.username", "u"),
        ("fetch.wait.max.ms", "7"),
        ("linger.ms", "9"),
        ("isolation.level", "read_uncommitted"),
    ]);
    let all = [
        config.consumer_config(),
        config.side_config(),
        config.watch_config(),
        config.producer_config(),
        config.admin_config(),
    ];
    let values = |name: &str| all.iter().map(|c| c.get(name).unwrap_or("-").to_owned()).collect::<Vec<_>>();
    assert_eq!(values("sasl.username"), ["u", "u", "u", "u", "u"]);
    assert_eq!(values("fetch.wait.max.ms"), ["7", "-", "-", "-", "-"]);
    assert_eq!(values("linger.ms"), ["-", "-", "-", "9", "-"]);
    let level = "read_uncommitted";
    assert_eq!(values("isolation.level"), [level, level, level, "-", "-"]);
}

#[test]
fn the_session_sets_the_pace_of_everything() {
    let config = with(&[("session.timeout.ms", "20000"), ("heartbeat.interval.ms", "3000")]);
    assert_eq!(config.session_timeout(), Some(Duration::from_secs(20)));
    let consumer = config.consumer_config();
    assert_eq!(consumer.get("session.timeout.ms"), Some("20000"));
    assert_eq!(consumer.get("max.poll.interval.ms"), Some("20000"));
    assert_eq!(consumer.get("heartbeat.interval.ms"), Some("3000"));
    let error = refused(&[("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "3000")]);
    assert!(error.contains("less than three heartbeats to a session of 6s"), "{error}");
    let error = refused(&[("max.poll.interval.ms", "5000")]);
    assert!(error.contains("shorter than the session of 15s"), "{error}");
    let demo = KafkaTimings { session: Duration::from_secs(2), ..KafkaTimings::default() };
    let demo = KafkaConfig::new("a:1", Some("g"), BTreeMap::new(), demo).unwrap();
    assert_eq!(demo.consumer_config().get("max.poll.interval.ms"), Some("2000"));
}

#[test]
fn a_kip_848_group_leaves_its_pace_to_the_broker() {
    let config = with(&[("group.protocol", "consumer")]);
    assert_eq!(config.session_timeout(), None);
    let consumer = config.consumer_config();
    for name in ["session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"] {
        assert_eq!(consumer.get(name), None, "{name}");
    }
    assert_eq!(consumer.get("max.poll.interval.ms"), Some("15000"), "the time to let partitions go");
    assert_eq!(config.side_config().get("group.protocol"), None, "who only asks joins nothing");
    // librdkafka agrees.
    consumer.create::<BaseConsumer>().unwrap();
    for (name, value) in [
        ("session.timeout.ms", "10000"),
        ("heartbeat.interval.ms", "300"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ] {
        let error = refused(&[("group.protocol", "consumer"), (name, value)]);
        assert!(error.contains(name) && error.contains("the broker"), "{error}");
    }
    let error = refused(&[("group.protocol", "consumer"), ("socket.timeout.ms", "44000")]);
    assert!(error.contains("shorter than the session of 45s"), "{error}");
    assert_eq!(with(&[("group.protocol", "classic")]).session_timeout(), Some(Duration::from_secs(15)));
}

#[test]
fn tls_finds_the_systems_certificates_unless_told_otherwise() {
    let location =
        |properties: &[(&str, &str)]| with(properties).consumer_config().get("ssl.ca.location").map(str::to_owned);
    assert_eq!(location(&[]), None);
    assert_eq!(location(&[("security.protocol", "SASL_SSL")]).as_deref(), Some("probe"));
    assert_eq!(location(&[("security.protocol", "ssl")]).as_deref(), Some("probe"));
    let own = [("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem")];
    assert_eq!(location(&own).as_deref(), Some("/ca.pem"));
    assert_eq!(location(&[("security.protocol", "ssl"), ("ssl.ca.pem", "x")]), None);
}

#[test]
fn librdkafka_makes_clients_of_every_configuration() {
    let metrics = RuntimeMetrics::new(&prometheus::Registry::new(), "0", "").unwrap();
    let context = PlainContext(KafkaLog::new("test", &metrics));
    // Nothing listens there; a client is made all the same.
    let config = make("127.0.0.1:1", &[]).unwrap();
    let consumer: BaseConsumer<PlainContext> = config.consumer_config().create_with_context(context.clone()).unwrap();
    consumer.subscribe(&["t"]).unwrap();
    let side: BaseConsumer<PlainContext> = config.side_config().create_with_context(context.clone()).unwrap();
    let watch: BaseConsumer<PlainContext> = config.watch_config().create_with_context(context.clone()).unwrap();
    let producer: BaseProducer<DefaultProducerContext> =
        config.producer_config().create_with_context(DefaultProducerContext).unwrap();
    drop((side, producer));
    // The voice hears that nobody answers.
    let counted = || {
        let down = metrics.kafka_errors.with_label_values(&["test", "all_brokers_down"]).get();
        down + metrics.kafka_errors.with_label_values(&["test", "transport"]).get()
    };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while counted() == 0 && std::time::Instant::now() < deadline {
        drop(watch.poll(Duration::from_millis(20)));
        drop(consumer.poll(Duration::from_millis(20)));
    }
    assert!(counted() > 0);
    assert!(!context.0.is_up());
}
