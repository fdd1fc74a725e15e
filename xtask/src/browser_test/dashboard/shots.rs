//! Pictures of the main screens, for people to look at.

use std::fs;

use serde_json::json;

use super::page::{self, Page};
use super::{fleet, folder};
use crate::browser_test::http::Http;
use crate::failure::{Failure, Result};
use crate::registry::Registry;

/// What is pictured, under which name, and when it is there.
const SCREENS: [(&str, &str, &str); 8] = [
    ("overview", "#/overview", "$$('.event').length > 5"),
    ("services", "#/services", "rows().length > 4 && !text('#list').includes('…')"),
    ("instances", "#/instances", "rows().length > 20"),
    ("service", "#/service/orders", "text('.matrix') !== '' && $('.timeline') && !text('#list').includes('…')"),
    ("instance", "#/instance/orders/orders-1", "text('.raw') !== '' && $('.timeline')"),
    ("time", "#/time", "$('#slider')"),
    ("resolver", "#/resolver?service=orders&zone=a", "$$('#gets li').length > 0"),
    ("doctor", "#/doctor", "$$('.findings li').length > 0"),
];

pub(super) fn run() -> Result {
    let folder = folder()?;
    let registry = Registry::start(&["--log", "warn", "--warm-up", "0s"])?;
    fleet::register(&mut Http::new(registry.address()))?;
    let demo = registry.start_client("demo fleet", &["demo", "--seed", "7", "--instances", "60", "--speed", "20"])?;
    let browser = page::browser(&[])?;
    let page = Page::open(&browser, registry.address(), "#/instances")?;
    page.until("the fleet is there", "rows().length > 20")?;
    let mut count = 0;
    for (device, width, height, phone) in [("desktop", 1440, 900, false), ("phone", 390, 844, true)] {
        page.size(width, height, phone)?;
        for theme in ["light", "dark"] {
            let scheme = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
            page.devtools("Emulation.setEmulatedMedia", &scheme)?;
            for (name, hash, there) in SCREENS {
                page.load(hash)?;
                page.until("there is something to see", there)?;
                save(&page, &folder.join(format!("{name}-{device}-{theme}.png")))?;
                count += 1;
            }
            page.load("#/instance/orders/orders-1")?;
            page.button("Drain")?;
            page.until("the window is open", "$('dialog')?.open && text('.dry') !== ''")?;
            save(&page, &folder.join(format!("action-{device}-{theme}.png")))?;
            count += 1;
        }
    }
    page.close()?;
    demo.stop(|| false);
    println!("{count} pictures are in {}", folder.display());
    Ok(())
}

fn save(page: &Page<'_>, path: &std::path::Path) -> Result {
    let bytes = decode(&page.picture()?);
    fs::write(path, bytes).map_err(|error| Failure::new(format!("could not write {}: {error}", path.display())))
}

/// What a text in Base64 stands for.
fn decode(text: &str) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::with_capacity(text.len() / 4 * 3), 0_u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_whatever_its_length() {
        for (text, meant) in [("", ""), ("YQ==", "a"), ("YWI=", "ab"), ("YWJj", "abc"), ("w6k/Kw==", "é?+")] {
            assert_eq!(decode(text), meant.as_bytes(), "{text}");
        }
    }
}
