//! Process entry: arguments, crypto provider, exit code. All wiring is in [`stellar_peers::app`].

use std::process::ExitCode;

use stellar_peers::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::read();
    // More than one rustls provider may be linked: choose before anything opens a socket.
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        unreachable!("nothing installs a provider before main");
    }
    match cli.execute().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("error: {failed}");
            ExitCode::FAILURE
        }
    }
}
