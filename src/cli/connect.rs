//! Access to the cluster, as kubectl has it.

use std::path::PathBuf;

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

/// Which cluster, as whom.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ConnectArgs {
    /// Kubeconfig file; without it KUBECONFIG, then ~/.kube/config, then the pod's own account.
    #[arg(long, env = "STELLAR_PEERS_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; without it its current one.
    #[arg(long, env = "STELLAR_PEERS_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

impl ConnectArgs {
    /// A client. Nothing is asked of the API server yet.
    ///
    /// # Errors
    /// [`kube::Error`] where no configuration is found or it is not usable.
    pub async fn client(&self) -> Result<Client, kube::Error> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &self.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file)?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await,
            None => return Client::try_default().await,
        };
        Client::try_from(config?)
    }
}
