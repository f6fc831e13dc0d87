//! What is looked at in the browser.

use std::{fs, path::Path, time::Duration};

use serde_json::{Value, json};

use crate::{
    browser::{Browser, Failed},
    made::{self, Shown},
    service::Service,
};

const TAB: char = '\u{e004}';
const ENTER: char = '\u{e007}';

/// Text on a background that is too like it, by the formula of WCAG 2.
const FAINT: &str = r"(() => {
  const parse = (text) => { const m = text.match(/[\d.]+/g); return m ? m.map(Number) : [0, 0, 0, 0]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const node of document.body.querySelectorAll('*')) {
    const says = [...node.childNodes].some((it) => it.nodeType === 3 && it.data.trim());
    if (!says || ['TITLE', 'DESC'].includes(node.nodeName.toUpperCase())) continue;
    const style = getComputedStyle(node);
    const text = parse(node instanceof SVGElement ? style.fill : style.color);
    const [one, other] = [light(text), light(ground(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) faint.push(node.textContent.slice(0, 40) + ' ' + ratio.toFixed(2));
  }
  return faint;
})()";

/// What the page's own rules hide, and what is wider than the window.
const WIDE: &str = "[document.documentElement.scrollWidth - document.documentElement.clientWidth, \
                    [...document.querySelectorAll('main *')].filter((it) => it.getBoundingClientRect().right > innerWidth + 1 \
                    && !it.closest('thead, .unseen, .drawing')).map((it) => it.nodeName + '.' + it.className).slice(0, 5)]";

/// Cells of a word that are taller than a word, as rows that are stacked could be.
const TALL: &str = "[...document.querySelectorAll('td[data-label=Status], td[data-label=Due]')]\
                    .filter((it) => innerWidth < 900 && it.getBoundingClientRect().height > 40).length";

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(what()) }
}

async fn same(browser: &Browser, expression: &str, wanted: &Value) -> Result<(), Failed> {
    let found = browser.eval(expression).await?;
    ensure(found == *wanted, || {
        format!("{expression} is {found}, not {wanted}")
    })
}

/// Nothing was complained about, and nothing was asked of anybody else.
async fn is_clean(browser: &Browser) -> Result<(), Failed> {
    let complaints = browser.complaints().await?;
    ensure(complaints.is_empty(), || {
        format!("the console says {complaints:?}")
    })?;
    let others = "performance.getEntriesByType('resource').map((it) => it.name)\
                  .filter((it) => !it.startsWith(location.origin) && !it.startsWith('data:'))";
    same(browser, others, &json!([])).await
}

/// A validator joins, the others restart: the page follows without being loaded anew, and the reader stays where she is.
pub(crate) async fn news_arrive_without_a_reload(browser: &Browser) -> Result<(), Failed> {
    let mut service = Service::start().await?;
    for name in ["validator-1", "validator-2", "validator-3"] {
        service.create(name).await?;
    }
    browser
        .open(&format!("http://{}/", service.address))
        .await?;
    let says = |text: &str| format!("document.getElementById('live').innerText.includes('{text}')");
    browser
        .until("three know each other", &current_are(3))
        .await?;
    browser
        .until(
            "the page is live",
            "document.getElementById('state').innerText === 'Live'",
        )
        .await?;
    browser
        .eval("window.mark = 1; window.link = document.querySelector('h2 a'); link.focus(); scrollTo(0, 120); \
               document.querySelectorAll('details').forEach((it) => { it.open = true; }); true")
        .await?;
    service.create("validator-4").await?;
    browser
        .until("the fourth is told", &says("validator-4"))
        .await?;
    browser
        .until("somebody restarts", &says("Restarting"))
        .await?;
    browser
        .until("four know each other", &current_are(4))
        .await?;
    let heard = "document.getElementById('news').textContent.length > 0";
    browser.until("a listener is told", heard).await?;
    same(browser, "window.mark", &json!(1)).await?;
    same(
        browser,
        "document.activeElement === window.link && link.isConnected",
        &json!(true),
    )
    .await?;
    same(browser, "scrollY", &json!(120)).await?;
    same(
        browser,
        "[...document.querySelectorAll('details')].every((it) => it.open || it.id === 'older')",
        &json!(true),
    )
    .await?;
    is_clean(browser).await?;
    let ended = service.stop(Duration::from_secs(5)).await;
    ensure(ended, || "an open page holds the drain up".to_owned())?;
    let waits = "document.getElementById('state').dataset.state === 'waits'";
    browser
        .until("the reader sees that nobody answers", waits)
        .await?;
    // That it could not connect stands on the console, as it should.
    browser.open("about:blank").await?;
    browser.complaints().await.map(drop)
}

fn current_are(count: usize) -> String {
    format!(
        "[...document.querySelectorAll('.figures')].some((it) => it.innerText.replace(/\\s+/g, ' ').includes('Current {count} of {count}'))"
    )
}

/// With the keyboard alone: first the way past the head, then each link, each of them visible.
pub(crate) async fn the_keyboard_reaches_everything(
    browser: &Browser,
    shown: &Shown,
) -> Result<(), Failed> {
    browser.open(&format!("http://{}/", shown.address)).await?;
    browser.press(TAB).await?;
    same(browser, "document.activeElement.className", &json!("skip")).await?;
    same(
        browser,
        "document.activeElement.getBoundingClientRect().top >= 0",
        &json!(true),
    )
    .await?;
    let links = browser
        .eval("document.querySelectorAll('a, summary').length")
        .await?;
    let links = links.as_u64().unwrap_or_default();
    let visible = "(() => { const it = document.activeElement; const box = it.getBoundingClientRect(); \
                   return it.matches('a, summary') && box.width > 0 && getComputedStyle(it).outlineStyle !== 'none'; })()";
    for _ in 1..links {
        browser.press(TAB).await?;
        same(browser, visible, &json!(true)).await?;
    }
    browser
        .eval("document.querySelector('.skip').focus()")
        .await?;
    browser.press(ENTER).await?;
    same(browser, "document.activeElement.id", &json!("content")).await?;
    let headings =
        "[...document.querySelectorAll('h1, h2, h3')].map((it) => Number(it.nodeName[1]))";
    let levels = browser.eval(headings).await?;
    let levels: Vec<u64> = levels
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_u64)
        .collect();
    let is_stepwise =
        levels.first() == Some(&1) && levels.windows(2).all(|pair| pair[1] <= pair[0] + 1);
    ensure(is_stepwise, || {
        format!("headings leave levels out: {levels:?}")
    })?;
    is_clean(browser).await
}

/// Both schemes are legible, down to a phone's width, and nothing moves for who doesn't want that.
pub(crate) async fn both_schemes_are_legible_at_every_width(
    browser: &Browser,
    shown: &Shown,
) -> Result<(), Failed> {
    for (scheme, ground) in [("light", "rgb(244, 246, 248)"), ("dark", "rgb(15, 20, 26)")] {
        browser
            .prefer(&[
                ("prefers-color-scheme", scheme),
                ("prefers-reduced-motion", "reduce"),
            ])
            .await?;
        for width in [360, 768, 1220, 1280, 1920] {
            browser.resize(width, 800).await?;
            browser.open(&format!("http://{}/", shown.address)).await?;
            let wide = browser.eval(WIDE).await?;
            ensure(wide == json!([0, []]), || {
                format!("at {width} px it is too wide: {wide}")
            })?;
            same(browser, TALL, &json!(0)).await?;
            let faint = browser.eval(FAINT).await?;
            ensure(faint == json!([]), || format!("{scheme}: {faint}"))?;
        }
        same(
            browser,
            "getComputedStyle(document.body).backgroundColor",
            &json!(ground),
        )
        .await?;
        same(
            browser,
            "getComputedStyle(document.querySelector('.now')).animationName",
            &json!("none"),
        )
        .await?;
    }
    is_clean(browser).await
}

/// All facts are there without the script.
pub(crate) async fn it_says_the_same_without_its_script(
    browser: &Browser,
    shown: &Shown,
) -> Result<(), Failed> {
    let off = |value: bool| json!({"value": value});
    browser
        .protocol("Emulation.setScriptExecutionDisabled", &off(true))
        .await?;
    browser.open(&format!("http://{}/", shown.address)).await?;
    let text = browser.eval("document.body.innerText").await?;
    let text = text.as_str().unwrap_or_default();
    for fact in [
        "validator-3",
        "Ready for 24s of 1m",
        "10.244.2.34:11625",
        "the ledger is on an emptyDir",
        "Reload",
        "RestartStarted",
        "mainnet",
    ] {
        ensure(text.contains(fact), || {
            format!("{fact} is missing without the script")
        })?;
    }
    same(
        browser,
        "document.getElementById('state').dataset.state",
        &json!("still"),
    )
    .await?;
    browser
        .protocol("Emulation.setScriptExecutionDisabled", &off(false))
        .await
        .map(drop)
}

/// Neither the page nor its news make anything of text but text.
pub(crate) async fn hostile_text_is_inert(browser: &Browser) -> Result<(), Failed> {
    for text in [
        "\"><script>document.title='broken'</script>",
        "</title></text></svg><img src=x onerror=\"document.title='broken'\">",
        "'><style>@import 'x'</style><a href=javascript:alert(1)>x</a>",
        "\u{202e}\n\r\ndata: {}\n\n",
    ] {
        let shown = Shown::start(made::hostile(text)).await?;
        let plain = "document.querySelectorAll('body script, body style, body img, body iframe, body [onerror], a[href^=javascript]').length";
        browser.open(&format!("http://{}/", shown.address)).await?;
        browser
            .until(
                "it is live",
                "document.getElementById('state').innerText === 'Live'",
            )
            .await?;
        same(browser, plain, &json!(0)).await?;
        same(browser, "document.title", &json!("stellar-peers")).await?;
        same(
            browser,
            "document.querySelectorAll('section.network').length",
            &json!(2),
        )
        .await?;
        browser.resize(360, 800).await?;
        let wide = browser.eval(WIDE).await?;
        ensure(wide == json!([0, []]), || {
            format!("{text:?} makes it too wide: {wide}")
        })?;
        is_clean(browser).await?;
        // Left before it goes, so that its stream isn't cut.
        browser.open("about:blank").await?;
    }
    let long = "long-".repeat(2_000);
    let shown = Shown::start(made::hostile(&long)).await?;
    for width in [360, 1280] {
        browser.resize(width, 800).await?;
        browser.open(&format!("http://{}/", shown.address)).await?;
        let wide = browser.eval(WIDE).await?;
        ensure(wide == json!([0, []]), || {
            format!("long names make it too wide at {width} px: {wide}")
        })?;
    }
    Ok(())
}

/// The pictures in docs/images, made anew where that is asked for.
pub(crate) async fn pictures(browser: &Browser, shown: &Shown) -> Result<(), Failed> {
    const BYTES_MAX: usize = 150_000;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/images");
    fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    for (name, scheme, width, height) in [
        ("status-page-light", "light", 1280, 800),
        ("status-page-dark", "dark", 1280, 800),
        ("status-page-phone", "light", 390, 1100),
    ] {
        browser
            .prefer(&[
                ("prefers-color-scheme", scheme),
                ("prefers-reduced-motion", "reduce"),
            ])
            .await?;
        browser.resize(width, height).await?;
        // The namespace's own page comes to the point sooner.
        browser
            .open(&format!("http://{}/?namespace=stellar", shown.address))
            .await?;
        browser
            .until(
                "it is live",
                "document.getElementById('state').innerText === 'Live'",
            )
            .await?;
        let picture = browser.picture().await?;
        ensure(picture.len() < BYTES_MAX, || {
            format!("{name}.png has {} bytes", picture.len())
        })?;
        fs::write(folder.join(format!("{name}.png")), picture)
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}
