//! Several bridges: proxying, waiting, discovery.
use super::*;

/// Two bridges that know of each other; `b` holds partition 1, `a` partition 0.
async fn two() -> (Bridge, Bridge) {
    two_with(|_| ()).await
}

async fn two_with(configure: impl Fn(&mut ExposeConfig)) -> (Bridge, Bridge) {
    let (a, b) = (Bridge::listening(&configure).await, Bridge::listening(&configure).await);
    a.hold(0, &[(A, Some("up 1\n"))]);
    b.hold(1, &[(B, Some("up 0\n")), ("stale=\"x\"", None)]);
    let map = map(&[(0, Some(a.address())), (1, Some(b.address()))]);
    a.live.publish_group(map.clone());
    b.live.publish_group(map);
    (a, b)
}

fn partition(n: i32) -> String {
    format!("/partitions/{TOPIC}/{n}/metrics")
}

const UP_A: &str = "up{cluster=\"acme\",instance=\"a:1\"} 1";
const UP_B: &str = "up{cluster=\"acme\",instance=\"b:1\"} 0";

#[tokio::test]
async fn any_bridge_leads_to_the_owner() {
    let (a, b) = two().await;
    for bridge in [&a, &b] {
        assert_eq!(bridge.get(&partition(0)).await.lines("up"), [UP_A]);
        let answer = bridge.get(&partition(1)).await;
        assert_eq!(answer.lines("up"), [UP_B]);
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    }
    let accept = [("accept", "application/openmetrics-text"), ("accept-encoding", "gzip")];
    let answer = a.send("GET", &partition(1), &accept).await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    assert_eq!(answer.header("content-encoding"), "gzip");
    let head = a.send("HEAD", &partition(1), &[]).await;
    assert_eq!((head.status.as_u16(), head.body.unwrap().len()), (200, 0));
    assert!(a.exposer.state.metrics.peer_requests.with_label_values(&["ok"]).get() >= 3);
}

#[tokio::test]
async fn a_hop_is_not_passed_on() {
    let (a, _b) = two().await;
    let hop = [("x-kafka2prom-hop", "1")];
    let answer = a.send("GET", &partition(1), &hop).await;
    assert_eq!(answer.status, 503);
    assert_eq!(a.send("GET", &partition(0), &hop).await.status, 200);
    assert_eq!(a.exposer.state.metrics.peer_requests.with_label_values(&["ok"]).get(), 0);
}

#[tokio::test]
async fn bridges_that_point_at_each_other_do_not_loop() {
    let (a, b) = two().await;
    a.live.publish_group(map(&[(2, Some(b.address()))]));
    b.live.publish_group(map(&[(2, Some(a.address()))]));
    let answer = a.get(&partition(2)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains(b.address()));
    let asked = |bridge: &Bridge, result| bridge.exposer.state.metrics.peer_requests.with_label_values(&[result]).get();
    assert!(asked(&a, "status") > 0, "b refused what came by a hop");
    assert!(peers::RESULTS.iter().all(|result| asked(&b, result) == 0), "and asked nobody");
}

#[tokio::test]
async fn redirects_are_an_option() {
    let (a, b) = two_with(|config| config.route = RouteMode::Redirect).await;
    let answer = a.get(&format!("{}?x=1", partition(1))).await;
    assert_eq!(answer.status, 307);
    let there = format!("http://{}{}?x=1", b.address(), partition(1));
    assert_eq!(answer.header("location"), there);
}

#[tokio::test]
async fn addresses_beyond_the_allow_list_are_not_asked() {
    let (a, b) = two_with(|config| config.peers = vec!["*.bridge".to_owned()]).await;
    for path in [partition(1), format!("/origins/{}/metrics", sd::segment(B))] {
        let answer = a.get(&path).await;
        assert_eq!(answer.status, 503);
        let detail = answer.json()["detail"].to_string();
        assert!(detail.contains("web.peers") && detail.contains(b.address()), "{detail}");
    }
    assert_eq!(a.get("/sd?by=origin").await.status, 503);
    let (a, _) = two_with(|config| {
        config.peers = vec!["*.bridge".to_owned()];
        config.route = RouteMode::Redirect;
    })
    .await;
    assert_eq!(a.get(&partition(1)).await.status, 503, "nobody is sent to a foreign address");
}

#[tokio::test]
async fn a_moving_partition_is_waited_for() {
    let bridge = Bridge::with(|config| config.default_timeout = Duration::from_secs(30));
    bridge.live.publish_group(map(&[(0, None)]));
    let path = partition(0);
    let scrape = bridge.get(&path);
    let take_over = async {
        while bridge.exposer.state.metrics.scrapes_in_flight.get() == 0 {
            tokio::task::yield_now().await;
        }
        let entry = bridge.assign(0, &[(A, Some("up 1\n"))]);
        tokio::task::yield_now().await;
        entry.set_live(true);
    };
    let (answer, ()) = tokio::join!(scrape, take_over);
    assert_eq!(answer.lines("up"), [UP_A]);
}

#[tokio::test]
async fn a_silent_owner_is_left_when_the_map_says_so() {
    let (a, b) = two_with(|config| config.default_timeout = Duration::from_secs(30)).await;
    // Accepts connections and never answers, as a stopped process does.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    a.live.publish_group(map(&[(1, Some(&address))]));
    let path = partition(1);
    let scrape = a.get(&path);
    let take_over = async {
        let _connection = silent.accept().await.unwrap();
        a.live.publish_group(map(&[(1, Some(b.address()))]));
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! { answer = scrape => answer, () = take_over => unreachable!() };
    assert_eq!(answer.lines("up"), [UP_B]);
}

#[tokio::test]
async fn waiting_ends_with_the_scrapes_time() {
    let bridge = Bridge::with(|config| config.default_timeout = Duration::from_secs(3600));
    bridge.live.publish_group(map(&[(0, None)]));
    let timeout = [("x-prometheus-scrape-timeout-seconds", "0.2")];
    let answer = bridge.send("GET", &partition(0), &timeout).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
    let hop = [("x-kafka2prom-hop", "1"), ("x-kafka2prom-deadline-ms", "150")];
    assert_eq!(bridge.send("GET", &partition(0), &hop).await.status, 503);
    bridge.live.publish_group(GroupMap::default());
    let answer = bridge.send("GET", &partition(7), &timeout).await;
    assert_eq!(answer.status, 503, "unknown only once the map is complete");
}

#[tokio::test]
async fn origins_are_found_wherever_they_are() {
    let (a, b) = two().await;
    let path = |key: &str| format!("/origins/{}/metrics", sd::segment(key));
    for bridge in [&a, &b] {
        assert_eq!(bridge.get(&path(A)).await.lines("up"), [UP_A]);
        assert_eq!(bridge.get(&path(B)).await.lines("up"), [UP_B]);
        assert_eq!(bridge.get(&path("stale=\"x\"")).await.status, 410);
        assert_eq!(bridge.get(&path("nobody")).await.status, 404);
    }
    b.live.all()[0].set_live(false);
    assert_eq!(a.get(&path(B)).await.status, 503, "it may be in the partition that moves");
    assert_eq!(a.get(&path(A)).await.status, 200);
}

#[tokio::test]
async fn discovery_is_the_same_from_any_bridge() {
    let (a, b) = two().await;
    for by in ["partition", "origin"] {
        let path = format!("/sd?by={by}");
        let (from_a, from_b) = (a.get(&path).await, b.get(&path).await);
        assert_eq!(from_a.header("content-type"), "application/json");
        assert_eq!(from_a.json(), from_b.json(), "{by}");
        assert_eq!(from_a.json()[0]["targets"], serde_json::json!(["bridge:9527"]));
    }
    let partitions = a.get("/sd").await.json();
    let labels = &partitions[1]["labels"];
    assert_eq!(labels["instance"], "k2p.metrics/1");
    assert_eq!(labels["__metrics_path__"], "/partitions/k2p.metrics/1/metrics");
    let origins = a.get("/sd?by=origin").await.json();
    assert_eq!(origins.as_array().unwrap().len(), 3, "a stale origin stays, to be seen down");
    let labels = &origins[0]["labels"];
    assert_eq!((&labels["cluster"], &labels["instance"]), (&"acme".into(), &"a:1".into()));
    let path = labels["__metrics_path__"].as_str().unwrap();
    assert_eq!(b.get(path).await.lines("up"), [UP_A], "the path leads there");
}

#[tokio::test]
async fn discovery_is_whole_or_nothing() {
    let (a, b) = two().await;
    b.live.all()[0].set_live(false);
    assert_eq!(a.get("/sd?by=origin").await.status, 503, "one partition's origins are missing");
    assert_eq!(a.get("/sd").await.status, 200, "the partitions are known all the same");
    a.live.publish_group(GroupMap { complete: false, ..map(&[(0, None)]) });
    assert_eq!(a.get("/sd").await.status, 503);
    a.live.publish_group(map(&[]));
    assert_eq!(a.get("/sd").await.status, 503, "never an empty list");
    let bridge = Bridge::with(|config| config.external_address = None);
    bridge.live.publish_group(map(&[(0, None)]));
    assert_eq!(bridge.get("/sd").await.status, 503);
}

#[tokio::test]
async fn an_origin_cannot_steer_prometheus() {
    let bridge = Bridge::new();
    bridge.hold(0, &[("__address__=\"evil:1\",__scheme__=\"https\",job=\"x\"", Some("up 1\n"))]);
    bridge.live.publish_group(map(&[(0, Some("self:1"))]));
    let labels = bridge.get("/sd?by=origin").await.json()[0]["labels"].clone();
    assert!(labels.get("__address__").is_none() && labels.get("__scheme__").is_none());
    assert_eq!(labels["job"], "x");
}

#[tokio::test]
async fn peers_authenticate_with_the_token() {
    let (a, b) = two_with(|config| config.peer_token = Some("secret".to_owned())).await;
    assert_eq!(a.get("/sd?by=origin").await.status, 200);
    let stranger = Bridge::listening(|config| config.peer_token = Some("other".to_owned())).await;
    stranger.live.publish_group(map(&[(0, Some(a.address())), (1, Some(b.address()))]));
    let answer = stranger.get("/sd?by=origin").await;
    assert_eq!(answer.status, 503);
    assert!(answer.json()["detail"].as_str().unwrap().contains("403"));
}

#[tokio::test]
async fn explain_asks_the_others() {
    let (a, b) = two().await;
    let told = a.get(&format!("/api/v1/explain?origin={}", sd::segment(B))).await.json();
    assert_eq!((&told["verdict"], &told["bridge"]), (&"exposed".into(), &b.address().into()));
    let told = a.get("/api/v1/explain?origin=nobody").await.json();
    assert_eq!(told["verdict"], "unknown");
}

#[tokio::test]
async fn head_over_the_wire_claims_no_length_that_is_wrong() {
    let (a, _b) = two().await;
    let length = async |method: &str, path: &str| {
        let uri = format!("http://{}{path}", a.address());
        let request = Request::builder().method(method).uri(uri).body(k2p_runtime::http::empty()).unwrap();
        let answer = a.exposer.state.client.send(request, Duration::from_secs(10)).await.unwrap();
        assert_eq!(answer.status(), 200, "{method} {path}");
        answer.headers().get("content-length").map(|v| v.to_str().unwrap().to_owned())
    };
    for path in ["/static/status.css", "/metrics", &partition(1)] {
        let (get, head) = (length("GET", path).await, length("HEAD", path).await);
        assert!(head.is_none() || head == get, "{path}: {head:?}, not {get:?}");
    }
}
