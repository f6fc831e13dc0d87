//! A headless Chromium, driven through `chromedriver` by the `WebDriver` protocol.

use std::{path::Path, process::Stdio, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

/// What did not work, in a sentence.
pub(crate) type Failed = String;

const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";
/// How long the browser may take for anything.
const PATIENCE: Duration = Duration::from_mins(1);
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
];

/// Whether the two programs are here.
pub(crate) fn is_here() -> bool {
    Path::new(CHROMIUM).exists() && Path::new(DRIVER).exists()
}

/// One browser with one page. [`Browser::quit`] ends it.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    profile: TempDir,
}

impl Browser {
    pub(crate) async fn start() -> Result<Self, Failed> {
        let profile = TempDir::new().map_err(|error| format!("no folder for it: {error}"))?;
        let mut driver = Command::new(DRIVER)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{DRIVER} does not start: {error}"))?;
        let told = driver.stdout.take().ok_or("it tells nothing")?;
        let port = timeout(PATIENCE, port_of(told))
            .await
            .map_err(|_| "it does not start")??;
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            profile,
        };
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).to_vec();
        let folder = browser.profile.path().display();
        arguments.push(format!("--user-data-dir={folder}"));
        let options = json!({"binary": CHROMIUM, "args": arguments});
        let wanted =
            json!({"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}});
        let answer = browser
            .call(
                Method::POST,
                "/session",
                &json!({"capabilities": {"alwaysMatch": wanted}}),
            )
            .await?;
        let session = answer["sessionId"].as_str().ok_or("no session")?;
        browser.session = format!("/session/{session}");
        Ok(browser)
    }

    pub(crate) async fn quit(mut self) {
        let path = self.session.clone();
        let _ = self.call(Method::DELETE, &path, &Value::Null).await;
        let _ = self.driver.kill().await;
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) -> Result<(), Failed> {
        self.order("/url", &json!({"url": url})).await.map(drop)
    }

    /// The value of an expression in the page. It works where the page's own scripts are not allowed, too.
    pub(crate) async fn eval(&self, expression: &str) -> Result<Value, Failed> {
        let parameters =
            json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.protocol("Runtime.evaluate", &parameters).await?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(format!("{expression}: {details}")),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&self, what: &str, expression: &str) -> Result<(), Failed> {
        let waiting = async {
            while self.eval(expression).await? != Value::Bool(true) {
                sleep(Duration::from_millis(50)).await;
            }
            Ok(())
        };
        let waited = timeout(PATIENCE, waiting).await;
        match waited {
            Ok(done) => done,
            Err(_) => Err(format!(
                "it is not so that {what}; the page says: {}",
                self.eval("document.body.innerText").await?
            )),
        }
    }

    /// A key, by its name in the protocol: `\u{e004}` is Tab, `\u{e007}` Enter.
    pub(crate) async fn press(&self, key: char) -> Result<(), Failed> {
        let strokes =
            ["keyDown", "keyUp"].map(|kind| json!({"type": kind, "value": key.to_string()}));
        let keyboard = json!({"type": "key", "id": "keyboard", "actions": strokes});
        self.order("/actions", &json!({"actions": [keyboard]}))
            .await
            .map(drop)
    }

    /// Errors and warnings on the console since the last call.
    pub(crate) async fn complaints(&self) -> Result<Vec<String>, Failed> {
        let logs = self.order("/se/log", &json!({"type": "browser"})).await?;
        let logs = logs.as_array().ok_or("no log")?;
        Ok(logs.iter().map(ToString::to_string).collect())
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn protocol(
        &self,
        command: &str,
        parameters: &Value,
    ) -> Result<Value, Failed> {
        self.order(
            "/goog/cdp/execute",
            &json!({"cmd": command, "params": parameters}),
        )
        .await
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) -> Result<(), Failed> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.protocol("Emulation.setDeviceMetricsOverride", &size)
            .await
            .map(drop)
    }

    /// What the reader prefers, such as `prefers-color-scheme`.
    pub(crate) async fn prefer(&self, features: &[(&str, &str)]) -> Result<(), Failed> {
        let features: Vec<Value> = features
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        self.protocol("Emulation.setEmulatedMedia", &json!({"features": features}))
            .await
            .map(drop)
    }

    /// The window as a PNG.
    pub(crate) async fn picture(&self) -> Result<Vec<u8>, Failed> {
        let answer = self
            .protocol("Page.captureScreenshot", &json!({"format": "png"}))
            .await?;
        Ok(decode(answer["data"].as_str().ok_or("no picture")?))
    }

    async fn order(&self, path: &str, body: &Value) -> Result<Value, Failed> {
        self.call(Method::POST, &format!("{}{path}", self.session), body)
            .await
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failed> {
        let called = format!("{method} {path}");
        let calling = call(self.port, method, path, body);
        let answer = timeout(PATIENCE, calling)
            .await
            .map_err(|_| format!("{called} takes too long"))?;
        let answer = answer.map_err(|error| format!("{called}: {error}"))?;
        match answer["value"].get("error") {
            Some(_) => Err(format!("{called}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }
}

async fn call(
    port: u16,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let body = if body.is_null() {
        Vec::new()
    } else {
        serde_json::to_vec(body)?
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let response = sender.send_request(request).await?;
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&bytes)?)
}

/// The driver says which port it chose; what it says afterwards is read on and dropped.
async fn port_of(told: tokio::process::ChildStdout) -> Result<u16, Failed> {
    let mut lines = BufReader::new(told).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let port = line.split("on port ").nth(1);
        if let Some(port) = port.and_then(|port| port.trim_end_matches('.').parse().ok())
            && line.contains("successfully")
        {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(port);
        }
    }
    Err(format!("{DRIVER} ended"))
}

/// Base64, as the protocol sends pictures.
fn decode(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text
        .bytes()
        .filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for digit in digits {
        bits = bits << 6 | u32::try_from(digit).unwrap_or_default();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap_or_default());
        }
    }
    bytes
}
