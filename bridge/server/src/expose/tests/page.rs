//! The status page: nothing from outside becomes markup.
use super::*;
use crate::live::Refusal;

const EVIL: &str = "<script>alert('x')</script>\"&\u{202e}";

fn evil_bridge() -> Bridge {
    let bridge = Bridge::with(|config| config.advertise_address = EVIL.to_owned());
    let key = format!("job=\"{}\"", EVIL.replace('"', "\\\""));
    let partition = bridge.hold(0, &[(&key, Some("up 1\n"))]);
    let mut view = view(0, &[(&key, Some("up 1\n"))]);
    let mut origin = origin(&key, Some("up 1\n"));
    origin.last_refusal = Some(EVIL.into());
    view.origins.insert(origin.key.clone(), Arc::new(origin));
    partition.view.store(Arc::new(view));
    partition.refuse(Refusal {
        time: WALL - 1000,
        offset: 3,
        origin: EVIL.into(),
        reason: "bad_key",
        detail: EVIL.into(),
    });
    bridge.live.publish_group(map(&[(0, Some(EVIL)), (1, Some(EVIL))]));
    bridge
}

#[tokio::test]
async fn everything_from_outside_is_escaped() {
    let bridge = evil_bridge();
    let search = format!("/?search={}", sd::segment("<script>"));
    for path in ["/", "/?page=99", search.as_str()] {
        let text = bridge.get(path).await.text();
        assert!(!text.contains("<script>"), "{path}: {text}");
        assert!(!text.contains('\u{202e}'), "{path}");
        assert_eq!(text.matches("<script src=\"/static/status.js\" defer>").count(), 1);
        assert!(text.contains("&lt;script&gt;"), "{path}");
    }
}

#[tokio::test]
async fn the_page_is_guarded_and_not_cached() {
    let answer = Bridge::new().get("/").await;
    let policy = answer.header("content-security-policy");
    for part in ["default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    let text = answer.text();
    assert!(!text.contains(" style=") && !text.contains(" onclick="), "the policy forbids both");
}

#[tokio::test]
async fn states_are_said_in_words() {
    let bridge = Bridge::new();
    bridge.hold(0, &[(A, Some("up 1\n")), (B, None)]);
    bridge.assign(1, &[]).set_state(ownership::State::CatchingUp);
    let waiting = bridge.assign(2, &[]);
    waiting.set_state(ownership::State::Waiting);
    waiting.wait_until.store(NOW + 5_000, Ordering::SeqCst);
    bridge.assign(3, &[]).set_state(ownership::State::Fenced);
    bridge.live.publish_group(map(&[(0, Some("self:1")), (4, Some("other:1")), (5, None)]));
    let text = bridge.get("/").await.text();
    for words in [">live<", ">catching up<", ">waiting, 5.0 s left<", ">fenced<", ">held elsewhere<"] {
        assert!(text.contains(words), "{words}");
    }
    for words in ["released", "other:1", "this bridge", "stale", "1 of 4", "90 s", "1.2.3"] {
        assert!(text.contains(words), "{words}");
    }
    bridge.lease.store(NOW, Ordering::SeqCst);
    assert!(bridge.get("/").await.text().contains("live, but its lease lapsed"));
}

#[tokio::test]
async fn origins_are_searched_and_paged() {
    let bridge = Bridge::new();
    let keys: Vec<String> = (0..450).map(|i| format!("instance=\"host-{i:03}\"")).collect();
    let origins: Vec<_> = keys.iter().map(|k| (k.as_str(), Some("up 1\n"))).collect();
    bridge.hold(0, &origins);
    let page = async |path: &str| {
        let text = bridge.get(path).await.text();
        (text.matches("class=\"name key\"").count(), text)
    };
    let (rows, text) = page("/").await;
    assert_eq!(rows, 200);
    assert!(text.contains("Page 1 of 3") && text.contains("page=2#origins"));
    let (rows, text) = page("/?page=3").await;
    assert_eq!(rows, 50);
    assert!(text.contains("host-449") && !text.contains("rel=\"next\""));
    let (rows, text) = page("/?search=HOST-44").await;
    assert_eq!(rows, 10);
    assert!(!text.contains("Page 1 of") && text.contains("value=\"HOST-44\""));
    assert_eq!(page("/?page=99").await.0, 0);
    assert_eq!(page("/?page=18446744073709551615").await.0, 0);
    assert_eq!(page("/?page=0").await.0, 200);
    assert_eq!(page("/?search=nothing").await.0, 0);
}
