//! Which path answers what, by status code.
use super::*;

async fn code(bridge: &Bridge, method: &str, path: &str) -> u16 {
    bridge.send(method, path, &[]).await.status.as_u16()
}

#[tokio::test]
async fn every_route_answers() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("up 1\n")), (B, None)]);
    bridge.live.publish_group(map(&[(0, Some("self:1"))]));
    let get = async |path: &str| code(&bridge, "GET", path).await;
    for path in ["/", "/metrics", "/metrics/self", "/static/status.css", "/static/status.js"] {
        assert_eq!(get(path).await, 200, "{path}");
    }
    for path in ["status", "origins", "partitions", "explain?origin=x"] {
        assert_eq!(get(&format!("/api/v1/{path}")).await, 200, "{path}");
    }
    assert_eq!(get("/partitions/k2p.metrics/0/metrics").await, 200);
    assert_eq!(get("/partitions/k2p.metrics/1/metrics").await, 404);
    assert_eq!(get("/partitions/other/0/metrics").await, 404);
    assert_eq!(get("/partitions/k2p.metrics/x/metrics").await, 400);
    assert_eq!(get("/origins/cluster=%22acme%22,instance=%22a:1%22/metrics").await, 200);
    assert_eq!(get("/origins/instance=%22a:1%22,cluster=%22acme%22/metrics").await, 200, "any order");
    assert_eq!(get("/origins/cluster=%22acme%22,instance=%22b:1%22/metrics").await, 410);
    assert_eq!(get("/origins/nobody/metrics").await, 404);
    assert_eq!(get("/sd").await, 200);
    assert_eq!(get("/sd?by=origin").await, 200);
    assert_eq!(get("/sd?by=magic").await, 400);
    assert_eq!(get("/internal/v1/origins").await, 200);
    assert_eq!(get("/internal/v1/explain?origin=x").await, 200);
    assert_eq!(get("/-/healthy").await, 200);
    assert_eq!(get("/-/ready").await, 200);
    assert_eq!(get("/metrics?origin=%7B").await, 400);
    assert_eq!(get("/metrics?origin=%ff").await, 400);
    assert_eq!(get("/api/v1/explain").await, 400);
    assert_eq!(get("/api/v1/origins?limit=x").await, 400);
    assert_eq!(get("/nothing").await, 404);
}

#[tokio::test]
async fn other_methods_are_refused_with_what_is_allowed() {
    let bridge = Bridge::new();
    for (method, path, allow) in [
        ("POST", "/metrics", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/-/drain", "POST, PUT"),
        ("GET", "/-/reload", "POST, PUT"),
        ("POST", "/api/v1/admin/policy", "PUT"),
    ] {
        let answer = bridge.send(method, path, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert!(!bridge.live.draining());
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("up 1\n"))]);
    for path in ["/", "/metrics", "/api/v1/status", "/-/ready", "/partitions/k2p.metrics/0/metrics"] {
        let (get, head) = (bridge.get(path).await, bridge.send("HEAD", path, &[]).await);
        assert_eq!(get.status, head.status, "{path}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{path}");
        assert_eq!(head.body.unwrap(), b"", "{path}");
        assert!(!get.body.unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn readiness_needs_the_group_every_partition_and_no_drain() {
    let bridge = Bridge::new();
    let ready = async || bridge.get("/-/ready").await.status.as_u16();
    assert_eq!(ready().await, 200, "joined, and nothing was assigned");
    bridge.live.set_joined(false);
    assert_eq!(ready().await, 503);
    bridge.live.set_joined(true);
    let partition = bridge.assign(0, &[]);
    assert_eq!(ready().await, 503);
    partition.set_live(true);
    assert_eq!(ready().await, 200);
    bridge.lease.store(NOW, Ordering::SeqCst);
    assert_eq!(ready().await, 503);
    bridge.lease.store(NOW + 1, Ordering::SeqCst);
    assert_eq!(ready().await, 200);
    bridge.live.set_draining();
    let answer = bridge.get("/-/ready").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"));
}

#[tokio::test]
async fn only_the_admin_api_drains() {
    let bridge = Bridge::new();
    assert_eq!(code(&bridge, "POST", "/-/drain").await, 403);
    assert!(!bridge.live.draining());
    let bridge = Bridge::with(|config| config.admin_api = true);
    assert_eq!(code(&bridge, "POST", "/-/drain").await, 200);
    assert!(bridge.live.draining());
}

#[tokio::test]
async fn management_says_what_went_wrong() {
    let bridge = Bridge::new();
    let answer = bridge.send("PUT", "/-/reload", &[]).await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["detail"], "line 3: no such key");
    bridge.healthy.store(false, Ordering::SeqCst);
    assert_eq!(code(&bridge, "GET", "/-/healthy").await, 500);
}

#[tokio::test]
async fn a_foreign_page_manages_nothing() {
    let bridge = Bridge::with(|config| config.admin_api = true);
    let from = async |site: &str| {
        let headers = [("sec-fetch-site", site)];
        bridge.send("POST", "/-/drain", &headers).await.status.as_u16()
    };
    assert_eq!(from("cross-site").await, 403);
    assert_eq!(from("same-site").await, 403);
    assert!(!bridge.live.draining());
    assert_eq!(from("same-origin").await, 200);
    assert!(bridge.live.draining());
}

#[tokio::test]
async fn the_admin_api_switches_policies_only_when_enabled() {
    let path = "/api/v1/admin/policy?topic=k2p.metrics&policy=conflate";
    let bridge = Bridge::new();
    let partition = bridge.assign(0, &[]);
    assert_eq!(code(&bridge, "PUT", path).await, 403);
    assert_eq!(partition.policy(), Policy::Backpressure);
    let bridge = Bridge::with(|config| config.admin_api = true);
    let partition = bridge.assign(0, &[]);
    let answer = bridge.send("PUT", path, &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["before"], "backpressure");
    assert_eq!(partition.policy(), Policy::Conflate);
    let put = async |query: &str| code(&bridge, "PUT", &format!("/api/v1/admin/policy{query}")).await;
    assert_eq!(put("?topic=k2p.metrics&policy=best").await, 400);
    assert_eq!(put("?topic=k2p.metrics").await, 400);
    assert_eq!(put("?topic=other&policy=conflate").await, 404);
}

#[tokio::test]
async fn the_peer_api_asks_for_the_token() {
    let bridge = Bridge::with(|config| config.peer_token = Some("secret".to_owned()));
    bridge.hold(0, &[(A, Some("up 1\n"))]);
    for path in ["/internal/v1/origins", "/internal/v1/explain?origin=x"] {
        let with = async |token: &str| {
            let headers = [("x-kafka2prom-peer-token", token)];
            bridge.send("GET", path, &headers).await.status.as_u16()
        };
        assert_eq!(code(&bridge, "GET", path).await, 403, "{path}");
        assert_eq!(with("secre").await, 403, "{path}");
        assert_eq!(with("secret").await, 200, "{path}");
    }
}

#[tokio::test]
async fn lists_can_be_searched_and_paged() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("a 1\nb 1\n")), (B, None)]);
    bridge.hold(1, &[("odd", Some("a 1\n"))]);
    let list = async |query: &str| bridge.get(&format!("/api/v1/origins{query}")).await.json();
    let all = list("").await;
    assert_eq!((&all["total"], all["origins"].as_array().unwrap().len()), (&3.into(), 3));
    assert_eq!(all["origins"][0]["key"], A);
    assert_eq!(all["origins"][0]["series"], 2);
    assert_eq!(all["origins"][0]["labels"]["cluster"], "acme");
    assert_eq!(all["origins"][0]["age_seconds"], 12.0);
    assert_eq!(all["origins"][1]["up"], false);
    let found = list("?search=ACME&offset=1&limit=5").await;
    assert_eq!((&found["total"], &found["origins"][0]["key"]), (&2.into(), &B.into()));
    let partitions = bridge.get("/api/v1/partitions").await.json();
    assert_eq!(partitions["partitions"][1]["here"]["exposed"], true);
    let status = bridge.get("/api/v1/status").await.json();
    assert_eq!((&status["origins"], &status["series"]), (&2.into(), &3.into()));
    assert_eq!(status["uptime_seconds"], 90.0);
}

#[tokio::test]
async fn explain_says_where_and_why() {
    let bridge = Bridge::with(|config| {
        config.topics = vec![TopicInfo {
            kind: "metrics",
            name: TOPIC.to_owned(),
            staleness: "90s".to_owned(),
            limits: vec![("dump_bytes".to_owned(), 1000)],
        }];
    });
    let partition = bridge.hold(0, &[(A, Some("# TYPE a gauge\na{x=\"1\"} 5\n")), (B, None)]);
    let refusal = |origin: &str| crate::live::Refusal {
        time: WALL,
        offset: 9,
        origin: origin.into(),
        reason: "too_large",
        detail: "the dump has 2000 bytes".into(),
    };
    partition.refuse(refusal("refused"));
    let explain = async |query: &str| {
        let told = bridge.get(&format!("/api/v1/explain?{query}")).await.json();
        let text = told["explanation"].to_string();
        (told["verdict"].as_str().unwrap().to_owned(), text, told)
    };
    // In another order than the canonical one.
    let a = "origin=instance%3D%22a:1%22,cluster%3D%22acme%22";
    let (verdict, text, told) = explain(&format!("{a}&metric=a")).await;
    assert_eq!(verdict, "exposed");
    assert!(text.contains("12.0 s old") && text.contains("90s"), "{text}");
    let example = "a{cluster=\"acme\",instance=\"a:1\",x=\"1\"} 5";
    assert_eq!(told["metric"]["examples"][0], example);
    let (_, text, told) = explain(&format!("{a}&metric=b")).await;
    assert!(text.contains("b is not in its dump"), "{text}");
    assert_eq!(told["metric"]["series"], 0);
    let (verdict, ..) = explain("origin=cluster%3D%22acme%22,instance%3D%22b:1%22").await;
    assert_eq!(verdict, "stale");
    let (verdict, text, _) = explain("origin=refused").await;
    assert_eq!(verdict, "unknown");
    assert!(text.contains("too_large") && text.contains("2000 bytes"), "{text}");
    partition.set_live(false);
    let (verdict, ..) = explain(a).await;
    assert_eq!(verdict, "hidden");
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let bridge = Bridge::new();
    bridge.assign(0, &[(A, Some("a 1\n")), (B, Some("a 2\n"))]).set_live(true);
    bridge.assign(1, &[]).set_live(true);
    let get = async |path: &str| bridge.get(path).await.json();
    let origins = get("/api/v1/origins?topic=k2p.metrics&up=true&limit=1").await;
    assert_eq!((&origins["total"], origins["origins"].as_array().unwrap().len()), (&2.into(), 1));
    assert_eq!(get("/api/v1/origins?up=false").await["total"], 0);
    assert_eq!(get("/api/v1/origins?topic=other").await["total"], 0);
    let partitions = get("/api/v1/partitions?offset=1").await;
    assert_eq!((&partitions["total"], &partitions["partitions"][0]["partition"]), (&2.into(), &1.into()));
    assert_eq!(get("/api/v1/partitions?state=assigned").await["total"], 2);
    assert_eq!(get("/api/v1/partitions?state=live").await["total"], 0);
    assert_eq!(get("/api/v1/partitions?owner=nobody").await["total"], 0);
    for wrong in ["origins?up=yes", "origins?limit=0", "partitions?state=odd", "partitions?offset=-1"] {
        assert_eq!(code(&bridge, "GET", &format!("/api/v1/{wrong}")).await, 400, "{wrong}");
    }
}

#[tokio::test]
async fn the_status_is_also_a_pushgateways() {
    let status = Bridge::new().get("/api/v1/status").await.json();
    assert_eq!(status["status"], "success");
    assert_eq!(status["data"]["build_information"]["version"], "1.2.3");
    assert_eq!(status["data"]["start_time"], "2023-11-14T22:11:50.000000000Z");
    assert_eq!(status["data"]["flags"]["web.enable-admin-api"], "false");
}

#[tokio::test]
async fn the_description_is_served() {
    let description = Bridge::new().get("/api/v1/openapi.json").await.json();
    assert_eq!((&description["openapi"], &description["info"]["version"]), (&"3.1.0".into(), &"1.2.3".into()));
    let rows = &description["paths"]["/api/v1/runs"]["get"]["responses"]["200"]["content"]["application/json"];
    assert_eq!(rows["schema"]["$ref"], "#/components/schemas/RunsPage");
}

#[tokio::test]
async fn an_origin_is_removed_only_by_the_admin_api() {
    let path = "/api/v1/origins/cluster%3D%22acme%22";
    assert_eq!(code(&Bridge::new(), "DELETE", path).await, 403);
    let bridge = Bridge::with(|config| config.admin_api = true);
    let answer = bridge.send("DELETE", path, &[]).await;
    assert_eq!(answer.status, 503, "without a producer");
}

/// Reading is never limited, and each client has a rate of its own.
#[tokio::test]
async fn what_a_client_may_push_is_limited_by_its_rate() {
    let refused = IntCounter::new("refused", "x").unwrap();
    let rate = Rate { per_second: 0.001, burst: 2.0 };
    let counter = refused.clone();
    let bridge = Bridge::with(move |config| config.push_limit = Some(PushLimit { rate, refused: counter }));
    let ask = |method: &'static str, path: &'static str, client: &'static str| {
        let mut asked = request(method, path, &[]);
        asked.extensions_mut().insert(Peer(format!("{client}:1").parse().unwrap()));
        let exposer = bridge.exposer.clone();
        async move { exposer.handle(asked).await }
    };
    let pushes = [
        ("PUT", "/metrics/job/a"),
        ("POST", "/metrics/job@base64/YQ"),
        ("DELETE", "/metrics/job/a/b/c"),
        ("POST", "/api/v1/events"),
    ];
    for (n, (method, path)) in pushes.into_iter().enumerate() {
        let answer = ask(method, path, "10.0.0.1").await;
        assert_eq!(answer.status() == 429, n >= 2, "{method} {path}: {}", answer.status());
        assert_eq!(answer.headers().contains_key("retry-after"), n >= 2);
    }
    assert_eq!(refused.get(), 2);
    assert!(ask("PUT", "/metrics/job/a", "10.0.0.2").await.status() != 429);
    for (method, path) in [("GET", "/metrics"), ("GET", "/metrics/job/a"), ("POST", "/-/reload")] {
        assert!(ask(method, path, "10.0.0.1").await.status() != 429, "{method} {path}");
    }
}
