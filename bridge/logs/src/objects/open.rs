//! From a URL and options to a store.
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, RetryConfig};
use tokio::runtime::Handle;

use super::Objects;
use super::http::Connector;

/// Why there is no store. The texts hold no value of an option.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not one of the known forms.
    #[error(
        "{0:?} is no place of an object store: write s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, gs://BUCKET/PREFIX or objects:///DIR"
    )]
    Url(String),
    /// An option that the crate does not know for this store.
    #[error("{scheme} has no option {key:?}; see the object_store crate's configuration keys (e.g. {example})")]
    Option {
        /// `s3`, `az` or `gs`.
        scheme: &'static str,
        /// As written.
        key: String,
        /// One that there is.
        example: &'static str,
    },
    /// What the crate says.
    #[error("the object store {place} cannot be used: {why}; check logs.url, logs.options and the environment")]
    Unusable {
        /// The URL.
        place: String,
        /// For people.
        why: String,
    },
}

/// Whether a URL is one of an object store, as far as its form goes.
pub fn is_object_url(url: &str) -> bool {
    split(url).is_some()
}

fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if scheme == "objects" {
        return rest.starts_with('/').then_some((scheme, rest, ""));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = !bucket.is_empty() && !bucket.contains('@') && !url.contains(['?', '#']);
    (plain && ["s3", "az", "gs"].contains(&scheme)).then_some((scheme, bucket, prefix))
}

impl Objects {
    /// Opens a place. Credentials come from the environment, as the `object_store` crate reads
    /// it (`AWS_…`, `AZURE_…`, `GOOGLE_…`), and from `options`, which win. `runtime` runs the
    /// requests.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is asked yet.
    pub fn open(url: &str, options: &BTreeMap<String, String>, runtime: Handle) -> Result<Objects, OpenError> {
        let (scheme, bucket, prefix) = split(url).ok_or_else(|| OpenError::Url(url.to_owned()))?;
        let unusable =
            |error: object_store::Error| OpenError::Unusable { place: url.to_owned(), why: error.to_string() };
        let store: Arc<dyn ObjectStore> = match scheme {
            "s3" => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
                for (key, value) in options {
                    builder = builder.with_config(known::<AmazonS3ConfigKey>("s3", key, "aws_region")?, value);
                }
                Arc::new(builder.with_http_connector(Connector).with_retry(retry()).build().map_err(unusable)?)
            }
            "az" => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(bucket);
                for (key, value) in options {
                    let key = known::<AzureConfigKey>("az", key, "azure_storage_account_name")?;
                    builder = builder.with_config(key, value);
                }
                Arc::new(builder.with_http_connector(Connector).with_retry(retry()).build().map_err(unusable)?)
            }
            "gs" => {
                let mut builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(bucket);
                for (key, value) in options {
                    builder =
                        builder.with_config(known::<GoogleConfigKey>("gs", key, "google_service_account")?, value);
                }
                Arc::new(builder.with_http_connector(Connector).with_retry(retry()).build().map_err(unusable)?)
            }
            _ => {
                std::fs::create_dir_all(bucket)
                    .map_err(|error| OpenError::Unusable { place: url.to_owned(), why: error.to_string() })?;
                let local = LocalFileSystem::new_with_prefix(bucket).map_err(unusable)?;
                Arc::new(local.with_fsync(true).with_automatic_cleanup(true))
            }
        };
        let mut objects = Objects::new(store, prefix, runtime);
        objects.place = url.into();
        Ok(objects)
    }
}

fn known<K: FromStr>(scheme: &'static str, key: &str, example: &'static str) -> Result<K, OpenError> {
    key.parse().map_err(|_| OpenError::Option { scheme, key: key.to_owned(), example })
}

/// Nobody waits for a store that is away; it is tried again soon anyway.
fn retry() -> RetryConfig {
    RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(8), ..RetryConfig::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn places_are_known_by_their_form_and_options_by_their_names() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let local = format!("objects://{}/made", dir.path().display());
        let open = |url: &str, options: &[(&str, &str)]| {
            let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            Objects::open(url, &options, runtime.handle().clone())
                .map(|o| o.place().to_owned())
                .map_err(|e| e.to_string())
        };
        let key =
            [("aws_access_key_id", "id"), ("aws_secret_access_key", "very secret"), ("aws_region", "eu-central-1")];
        let account = [("azure_storage_account_name", "name"), ("azure_storage_account_key", "c2VjcmV0")];
        for (url, options) in [
            ("s3://bucket", &key[..]),
            ("s3://bucket/a/prefix", &key[..]),
            ("az://container/p", &account[..]),
            ("gs://bucket/p", &[("google_skip_signature", "true")][..]),
            (&local, &[][..]),
        ] {
            assert_eq!(open(url, options).as_deref(), Ok(url));
        }
        for (url, options, said) in [
            ("s3://", &[][..], "is no place"),
            ("s3://id:secret@bucket/p", &[], "is no place"),
            ("file:///tmp", &[], "is no place"),
            ("objects://relative", &[], "is no place"),
            ("s3://bucket", &[("aws_secret", "very secret")], "no option \"aws_secret\""),
            ("az://container", &[("aws_region", "x")], "no option \"aws_region\""),
        ] {
            let why = open(url, options).unwrap_err();
            assert!(why.contains(said) && !why.contains("very secret"), "{url}: {why}");
        }
    }
}
