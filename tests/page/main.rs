//! The status page in a browser: the real service on an in-memory cluster, and made-up clusters that are hard to show.
//!
//! `make page` installs what it needs where it may. Without Chromium this says so and passes. `UPDATE=1` takes the
//! pictures in docs/images anew.

#![expect(
    clippy::print_stdout,
    reason = "this is a test program of its own, which tells what it found"
)]

mod browser;
mod checks;
mod made;
mod service;

use std::{env, process::ExitCode};

use browser::{Browser, Failed};
use made::Shown;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.iter().any(|it| it == "--list") {
        println!("page: test");
        return ExitCode::SUCCESS;
    }
    let mut filters = arguments
        .iter()
        .filter(|it| !it.starts_with('-'))
        .peekable();
    let others =
        filters.peek().is_some() && !filters.any(|filter| "page".contains(filter.as_str()));
    if others || arguments.iter().any(|it| it == "--ignored") {
        return ExitCode::SUCCESS;
    }
    if !browser::is_here() {
        println!(
            "page: skipped, there is no chromium and chromedriver in /usr/bin (make page installs them as root)"
        );
        return ExitCode::SUCCESS;
    }
    match all().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("page: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One check after the other, in one browser.
async fn all() -> Result<(), Failed> {
    let browser = Browser::start().await?;
    let outcome = every_check(&browser).await;
    browser.quit().await;
    outcome
}

async fn every_check(browser: &Browser) -> Result<(), Failed> {
    let told = |name: &'static str, outcome: Result<(), Failed>| {
        println!(
            "page: {name}: {}",
            if outcome.is_ok() { "ok" } else { "FAILED" }
        );
        outcome.map_err(|error| format!("{name}: {error}"))
    };
    let shown = Shown::start(made::joining()).await?;
    if env::var_os("UPDATE").is_some() {
        told("pictures", checks::pictures(browser, &shown).await)?;
    }
    browser.prefer(&[]).await?;
    browser.resize(1280, 500).await?;
    told(
        "news arrive without a reload",
        checks::news_arrive_without_a_reload(browser).await,
    )?;
    told(
        "the keyboard reaches everything",
        checks::the_keyboard_reaches_everything(browser, &shown).await,
    )?;
    let legible = checks::both_schemes_are_legible_at_every_width(browser, &shown).await;
    told("both schemes are legible at every width", legible)?;
    told(
        "it says the same without its script",
        checks::it_says_the_same_without_its_script(browser, &shown).await,
    )?;
    told(
        "hostile text is inert",
        checks::hostile_text_is_inert(browser).await,
    )
}
