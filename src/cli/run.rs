//! `run`: the webhook and the loop.

use tokio::sync::Notify;

use super::{ConnectArgs, Failed, init_logs};
use crate::{
    app::{App, AppArgs, Signals},
    clock::Clock,
    observe::logs::LogArgs,
};

/// Everything that `run` can be told.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// The service itself.
    #[command(flatten)]
    pub app: AppArgs,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
    /// Logs.
    #[command(flatten)]
    pub logs: LogArgs,
}

/// Runs until a signal says stop: the first drains, the second ends at once.
///
/// # Errors
/// [`Failed`] with what kept the service from running.
pub(super) async fn run(args: RunArgs) -> Result<(), Failed> {
    let logs = init_logs(&args.logs)?;
    let result = serve(args).await;
    logs.flush().await;
    result
}

async fn serve(args: RunArgs) -> Result<(), Failed> {
    let mut signals = Signals::listen()
        .map_err(|error| Failed(format!("could not listen for signals: {error}")))?;
    let client = args
        .connect
        .client()
        .await
        .map_err(|error| Failed::from_error(&error))?;
    let app = App::build(args.app, client, Clock::system())
        .await
        .map_err(|error| Failed::from_error(&error))?;
    let stop = Notify::new();
    tokio::select! {
        result = app.run(stop.notified()) => result.map_err(|error| Failed::from_error(&error)),
        () = async {
            signals.next().await;
            stop.notify_one();
            signals.next().await;
        } => Err(Failed("a second signal ended the drain".to_owned())),
    }
}
