//! `rebilld keys`: creates and revokes API keys on the machine itself: the first key, or a new one when all are lost.

use clap::Subcommand;

use super::Settings;
use crate::{
    billing::{App, api_keys},
    daemon,
    domain::{
        api_key::{ApiKey, Scope},
        event::Actor,
        id::ApiKeyId,
    },
    store,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Makes a key and prints it, this once
    Create {
        /// How far it reaches: read, write or admin
        #[arg(long)]
        scope: Scope,
        /// What it is for
        #[arg(long, default_value = "made on the command line")]
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Lists the keys, without their texts
    List {
        #[command(flatten)]
        settings: Settings,
    },
    /// Revokes a key at once
    Revoke {
        /// As shown by `rebilld keys list`
        id: ApiKeyId,
        #[command(flatten)]
        settings: Settings,
    },
}

pub async fn run(command: Command) -> anyhow::Result<()> {
    let settings = match &command {
        Command::Create { settings, .. } | Command::List { settings } | Command::Revoke { settings, .. } => settings,
    };
    let app = daemon::idle(settings.load()?).await?;
    let done = obey(&app, &command).await;
    app.db.close().await;
    done
}

async fn obey(app: &App, command: &Command) -> anyhow::Result<()> {
    let actor = Actor::Key("command-line".to_owned());
    match command {
        Command::Create { scope, name, .. } => {
            let (key, text) = api_keys::create(app, &actor, name, *scope).await?;
            println!("{text}");
            eprintln!("{} ({}) is ready; its text is not shown again", key.id, key.scope);
        }
        Command::List { .. } => {
            for key in store::api_keys::all(&app.db).await? {
                println!("{}", line(&key));
            }
        }
        Command::Revoke { id, .. } => {
            api_keys::revoke(app, &actor, *id).await?;
            println!("{id} is revoked");
        }
    }
    Ok(())
}

fn line(key: &ApiKey) -> String {
    let state = key.revoked_at.map_or_else(|| "active".to_owned(), |at| format!("revoked {}", at.format("%F")));
    format!(
        "{}  {:<5}  …{:<4}  {}  {state}  {}",
        key.id,
        key.scope.as_str(),
        key.last_four,
        key.created_at.format("%F"),
        key.name
    )
}
