//! Where panels stand: 24 columns, every line full, nothing over anything else.
use super::text;
use serde_json::Value;

const COLUMNS: u64 = 24;
/// A dashboard 1280 px wide: a column has 53 px, a character of a title about 7.5, and the
/// frame with the icon of the description about 56.
const PIXELS: f64 = 1280.0 / 24.0;
const CHARACTER: f64 = 7.5;
const FRAME: f64 = 56.0;

/// How wide a panel of that title must be.
#[allow(clippy::cast_precision_loss, reason = "titles are short")]
fn title_needs(title: &str) -> f64 {
    (title.chars().count() as f64 * CHARACTER + FRAME) / PIXELS
}

struct Place {
    what: String,
    row: bool,
    x: u64,
    y: u64,
    w: u64,
    h: u64,
}

fn place(panel: &Value) -> Place {
    let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or(0);
    let row = panel["type"] == "row";
    Place { what: text(panel, "title").to_owned(), row, x: at("x"), y: at("y"), w: at("w"), h: at("h") }
}

/// Everything that is wrong with the places of these panels.
#[allow(clippy::cast_precision_loss, reason = "a width is at most 24")]
pub(crate) fn faults(panels: &[Value]) -> Vec<String> {
    let places: Vec<Place> = panels.iter().map(place).collect();
    let mut found = Vec::new();
    for one in &places {
        if one.w == 0 || one.h == 0 || one.x + one.w > COLUMNS {
            found.push(format!("{}: outside of the {COLUMNS} columns", one.what));
        }
        if one.row && (one.x, one.w, one.h) != (0, COLUMNS, 1) {
            found.push(format!("{}: a row is a whole line", one.what));
        }
        if (one.w as f64) < title_needs(&one.what) {
            found.push(format!("{}: {} columns are too narrow for the title", one.what, one.w));
        }
    }
    if !found.is_empty() {
        return found;
    }
    found.extend(order(&places));
    found.extend(cells(&places));
    found
}

/// As one reads them: Grafana puts panels to rows by their order.
fn order(places: &[Place]) -> Vec<String> {
    let pairs = places.windows(2).filter(|pair| (pair[0].y, pair[0].x) >= (pair[1].y, pair[1].x));
    pairs.map(|pair| format!("{} stands before {} and is below it", pair[0].what, pair[1].what)).collect()
}

/// Each cell has exactly one panel.
fn cells(places: &[Place]) -> Vec<String> {
    let height = places.iter().map(|p| p.y + p.h).max().unwrap_or(0);
    let mut found = Vec::new();
    for y in 0..height {
        for x in 0..COLUMNS {
            let here = |p: &&Place| (p.x..p.x + p.w).contains(&x) && (p.y..p.y + p.h).contains(&y);
            let there: Vec<&str> = places.iter().filter(here).map(|p| p.what.as_str()).collect();
            match there[..] {
                [_] => {}
                [] => found.push(format!("a gap at column {x}, line {y}")),
                _ => found.push(format!("{} overlap at column {x}, line {y}", there.join(" and "))),
            }
        }
    }
    found.truncate(3);
    found
}
