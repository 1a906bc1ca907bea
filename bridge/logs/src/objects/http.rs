//! The object stores' HTTP, by the client that the rest of the program uses.
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::Request;
use k2p_runtime::http::BoxError;
use k2p_runtime::http::client::{ClientConfig, ClientError, HttpClient};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient as Client, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};

/// One request, all in all.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of an answer: a segment, or a page of a list.
const MAX_ANSWER: usize = 64 << 20;

/// Makes clients; options of the crate about its own HTTP client have no effect.
#[derive(Debug)]
pub(super) struct Connector;

#[derive(Debug)]
struct Service(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<Client> {
        let client = HttpClient::new(&ClientConfig::default())
            .map_err(|error| object_store::Error::Generic { store: "http", source: Box::new(error) })?;
        Ok(Client::new(Service(client)))
    }
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.map_err(BoxError::from).boxed_unsync());
        let fetched = self.0.fetch(request, PATIENCE, MAX_ANSWER).await.map_err(|e| HttpError::new(kind(&e), e))?;
        let mut response = HttpResponse::new(HttpResponseBody::from(fetched.body));
        *response.status_mut() = fetched.status;
        *response.headers_mut() = fetched.headers;
        Ok(response)
    }
}

fn kind(error: &ClientError) -> HttpErrorKind {
    match error {
        ClientError::Timeout(_) => HttpErrorKind::Timeout,
        ClientError::Connect(_) | ClientError::Tls(_) => HttpErrorKind::Connect,
        ClientError::Broken(_) => HttpErrorKind::Interrupted,
        ClientError::TooLarge(_) => HttpErrorKind::Decode,
        ClientError::BadUrl(_) | ClientError::Certificates(_) => HttpErrorKind::Request,
    }
}
