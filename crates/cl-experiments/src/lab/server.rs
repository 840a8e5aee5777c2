//! Addresses and answers.

use crate::io::error::UserError;
use crate::lab::follow::{Followed, News};
use crate::lab::runs::{self, State};
use crate::lab::settings::{Chosen, Settings};
use crate::lab::shelf::Shelf;
use crate::lab::tries::{Progress, Tries, Watched};
use crate::lab::{Contents, Places, guard, looks};
use crate::run::folder::RunFolder;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Json, Query, Request, State as Shared};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use serde_json::json;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Time between two looks at a run folder: what is new in a try, and in a run that somebody else makes.
const TICK: Duration = Duration::from_millis(40);
const SLOW_TICK: Duration = Duration::from_millis(250);

/// A line that says nothing is sent this often, so that it is noticed when a page has gone.
const ALIVE: Duration = Duration::from_secs(1);

/// Most runs that a page watches.
const MOST_WATCHED: usize = 16;

/// Most bytes of a request.
const LARGEST_REQUEST_BYTE: usize = 64 << 10;

/// The page may only load what this server sends.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; frame-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Reports and figures bring their own styles and run nothing.
const POLICY_OF_REPORTS: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; sandbox";

/// The page's own addresses.
const PAGES: [&str; 3] = ["/", "/runs", "/images"];

/// Files of the page.
const FILES: [(&str, &str, &str); 10] = [
    ("/lab.css", "text/css", include_str!("page/lab.css")),
    ("/lab.js", "text/javascript", include_str!("page/lab.js")),
    ("/try.js", "text/javascript", include_str!("page/try.js")),
    ("/controls.js", "text/javascript", include_str!("page/controls.js")),
    ("/charts.js", "text/javascript", include_str!("page/charts.js")),
    ("/events.js", "text/javascript", include_str!("page/events.js")),
    ("/runs.js", "text/javascript", include_str!("page/runs.js")),
    ("/images.js", "text/javascript", include_str!("page/images.js")),
    ("/uPlot.js", "text/javascript", include_str!("page/uPlot.iife.min.js")),
    ("/uPlot.css", "text/css", include_str!("page/uPlot.min.css")),
];

struct Server {
    contents: Contents,
    places: Places,
    tries: Tries,
    port: u16,
    /// Sheets of views are made one at a time: a slider asks for many, and takes the last.
    one_sheet: Arc<Semaphore>,
}

type Lab = Shared<Arc<Server>>;

/// Serves until `stop` is set; `ready` is told the address.
///
/// # Errors
/// [`UserError`] when the port is taken or the folder of runs cannot be written.
pub fn serve(
    contents: Contents,
    places: Places,
    (port, device): (u16, &str),
    stop: &AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), UserError> {
    crate::io::device::open(device)?;
    // A look at the experiments before anything is served: a wrong folder is told at once.
    Shelf::new(&places, &contents.catalog).inventory()?;
    let tries = Tries::new(&places.runs, device, places.data_dir.as_deref())?;
    let failed =
        |e: std::io::Error| UserError::Run(format!("--port {port}: the laboratory cannot be opened there: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Arc::new(Server {
            contents,
            places,
            tries: tries.clone(),
            port: address.port(),
            one_sheet: Arc::new(Semaphore::new(1)),
        });
        ready(address);
        tokio::select! {
            ended = axum::serve(listener, router(server)) => ended.map_err(failed),
            () = set(stop) => Ok(()),
        }
    });
    tries.close();
    // Answers under way are not waited for: streams have no end.
    runtime.shutdown_background();
    served
}

async fn set(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn router(server: Arc<Server>) -> Router {
    let page = || get(|| async { file("text/html", include_str!("page/index.html")) });
    let mut router = PAGES.iter().fold(Router::new(), |router, path| router.route(path, page()));
    for (path, kind, text) in FILES {
        router = router.route(path, get(move || async move { file(kind, text) }));
    }
    router
        .route("/api/alive", get(|| async { StatusCode::NO_CONTENT }))
        .route("/api/inventory", get(inventory))
        .route("/api/check", post(check))
        .route("/api/try", post(start_try))
        .route("/api/pin", post(pin))
        .route("/api/leave", post(leave))
        .route("/api/predict", post(predict))
        .route("/api/views", post(views))
        .route("/api/runs", get(list))
        .route("/api/run", get(run))
        .route("/api/watch", post(watch))
        .route("/figures", get(figures))
        .route("/report", get(report))
        .layer(DefaultBodyLimit::max(LARGEST_REQUEST_BYTE))
        .layer(middleware::from_fn_with_state(server.clone(), only_own_pages))
        .with_state(server)
}

/// Refuses requests that do not come from a page of this server, and says what browsers may do with answers.
async fn only_own_pages(Shared(server): Lab, request: Request, next: Next) -> Response {
    let mut response =
        match guard::refusal(request.method(), request.headers(), server.port, PAGES.contains(&request.uri().path())) {
            Some(why) => (StatusCode::FORBIDDEN, why).into_response(),
            None => next.run(request).await,
        };
    let headers: &mut HeaderMap = response.headers_mut();
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, format!("{kind}; charset=utf-8"))], text).into_response()
}

/// A page without scripts of its own.
fn quiet_page(text: String) -> Response {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY_OF_REPORTS)];
    (headers, text).into_response()
}

/// A page, or what is wrong as text where it would stand.
fn page_or_message(page: Result<String, Refused>) -> Response {
    match page {
        Ok(page) => quiet_page(page),
        Err(Refused(message)) => {
            let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY_OF_REPORTS)];
            (StatusCode::BAD_REQUEST, headers, message).into_response()
        }
    }
}

/// What is wrong, for the page to show.
struct Refused(String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::BAD_REQUEST, axum::Json(json!({ "error": self.0 }))).into_response()
    }
}

impl From<UserError> for Refused {
    fn from(error: UserError) -> Self {
        Self(error.to_string())
    }
}

impl From<JsonRejection> for Refused {
    fn from(error: JsonRejection) -> Self {
        Self(error.body_text())
    }
}

impl From<QueryRejection> for Refused {
    fn from(error: QueryRejection) -> Self {
        Self(error.body_text())
    }
}

type Answer = Result<Response, Refused>;

/// Does what takes longer than a moment on a thread of its own.
async fn apart<R: Send + 'static>(
    server: &Arc<Server>,
    work: impl FnOnce(&Server) -> Result<R, UserError> + Send + 'static,
) -> Result<R, Refused> {
    let server = server.clone();
    match tokio::task::spawn_blocking(move || work(&server)).await {
        Ok(result) => Ok(result?),
        Err(e) => Err(Refused(format!("this could not be computed: {e}"))),
    }
}

impl Server {
    fn shelf(&self) -> Shelf<'_> {
        Shelf::new(&self.places, &self.contents.catalog)
    }
}

async fn chosen(server: &Arc<Server>, settings: Settings) -> Result<Chosen, Refused> {
    apart(server, move |server| settings.chosen(&server.shelf())).await
}

async fn inventory(Shared(server): Lab) -> Answer {
    Ok(axum::Json(apart(&server, |server| server.shelf().inventory()).await?).into_response())
}

/// A specification that is complete, and the file that makes the run.
async fn check(Shared(server): Lab, settings: Result<Json<Settings>, JsonRejection>) -> Answer {
    let chosen = chosen(&server, settings?.0).await?;
    let file = chosen.experiment_file()?;
    let Chosen { claim, point, seed, spec } = chosen;
    Ok(axum::Json(json!({ "claim": claim, "point": point, "seed": seed, "spec": spec, "file": file })).into_response())
}

/// A run that a page asks for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trial {
    page: String,
    /// Counted by the page.
    turn: u64,
    settings: Settings,
}

/// A run of a page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnRun {
    page: String,
    number: u64,
}

/// A page that goes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Leaving {
    page: String,
}

async fn start_try(Shared(server): Lab, trial: Result<Json<Trial>, JsonRejection>) -> Answer {
    let Json(Trial { page, turn, settings }) = trial?;
    let chosen = chosen(&server, settings).await?;
    let spec = json!({ "claim": chosen.claim, "point": chosen.point, "seed": chosen.seed, "spec": chosen.spec });
    let watched = apart(&server, move |server| server.tries.start(&page, turn, &chosen)).await?;
    let started = event("started", &json!({ "number": watched.number, "run": spec }));
    let followed = Followed::from_the_start(&watched.folder);
    let look = |watched: &Watched| {
        let (progress, warnings) = watched.progress();
        let over = match progress {
            Progress::UnderWay => None,
            Progress::Complete => Some(json!({ "state": "complete" })),
            Progress::Failed(message) => Some(json!({ "state": "failed", "message": message })),
            Progress::Displaced => Some(json!({ "state": "displaced" })),
        };
        Look { warnings, over }
    };
    let news = news(String::new(), followed, watched, look, TICK);
    Ok(sse(stream::iter([started]).chain(news)))
}

async fn pin(Shared(server): Lab, pinned: Result<Json<OwnRun>, JsonRejection>) -> Answer {
    let Json(OwnRun { page, number }) = pinned?;
    Ok(axum::Json(apart(&server, move |server| server.tries.pin(&page, number)).await?).into_response())
}

async fn leave(Shared(server): Lab, left: Result<Json<Leaving>, JsonRejection>) -> Answer {
    let Json(Leaving { page }) = left?;
    apart(&server, move |server| {
        server.tries.leave(&page);
        Ok(())
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn predict(Shared(server): Lab, settings: Result<Json<Settings>, JsonRejection>) -> Answer {
    let chosen = chosen(&server, settings?.0).await?;
    let predicted = apart(&server, move |_| Ok(looks::predicted(&chosen))).await?;
    Ok(axum::Json(predicted).into_response())
}

async fn views(Shared(server): Lab, settings: Result<Json<Settings>, JsonRejection>) -> Answer {
    let chosen = chosen(&server, settings?.0).await?;
    let turn = server.one_sheet.clone().acquire_owned().await.map_err(|e| Refused(e.to_string()))?;
    let png = apart(&server, move |server| {
        // Kept until the sheet is made, whether or not somebody still waits for it.
        let _turn = turn;
        looks::views(&chosen, server.places.data_dir.as_deref())
    });
    let png = png.await?;
    Ok(([(CONTENT_TYPE, "image/png")], Body::from(png)).into_response())
}

async fn list(Shared(server): Lab) -> Answer {
    Ok(axum::Json(apart(&server, |server| Ok(runs::list(&server.places.runs))).await?).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRun {
    folder: String,
}

/// Settings and everything measured so far.
async fn run(Shared(server): Lab, asked: Result<Query<OfRun>, QueryRejection>) -> Answer {
    let Query(OfRun { folder }) = asked?;
    let found = apart(&server, move |server| {
        let folder = runs::named(&server.places.runs, &folder)?;
        let News { snapshots, picture } = Followed::from_the_start(&folder).news();
        let spec: serde_json::Value = folder.read("spec.json")?;
        let lines = snapshots
            .lines
            .iter()
            .map(|line| serde_json::from_str(line))
            .collect::<Result<Vec<serde_json::Value>, _>>();
        let lines = lines.map_err(|e| UserError::file(folder.path().join("metrics.jsonl"), e))?;
        Ok(json!({
            "spec": spec["spec"], "state": State::of(&folder), "snapshots": lines,
            "picture": picture.and_then(|line| serde_json::from_str::<serde_json::Value>(&line).ok()),
        }))
    });
    Ok(axum::Json(found.await?).into_response())
}

/// Runs by their folders.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfRuns {
    folders: Vec<String>,
}

/// What is added to runs, whoever makes them: one stream for all of them, as a browser keeps few connections.
async fn watch(Shared(server): Lab, asked: Result<Json<OfRuns>, JsonRejection>) -> Answer {
    let Json(OfRuns { folders }) = asked?;
    if folders.len() > MOST_WATCHED {
        return Err(Refused(format!(
            "{} runs are too many to be watched at once; {MOST_WATCHED} are not",
            folders.len()
        )));
    }
    let found = apart(&server, move |server| {
        let named = folders.into_iter().map(|name| Ok((runs::named(&server.places.runs, &name)?, name)));
        named.collect::<Result<Vec<_>, UserError>>()
    });
    let streams = found.await?.into_iter().map(|(folder, name)| {
        let look = |folder: &RunFolder| match State::of(folder) {
            State::UnderWay => Look::default(),
            state => Look { over: Some(json!({ "state": state })), ..Look::default() },
        };
        news(name, Followed::from_the_start(&folder), folder, look, SLOW_TICK).boxed()
    });
    Ok(sse(stream::select_all(streams)))
}

async fn figures(Shared(server): Lab, asked: Result<Query<OfRun>, QueryRejection>) -> Answer {
    let Query(OfRun { folder }) = asked?;
    let page = apart(&server, move |server| {
        looks::figures_of_run(&runs::named(&server.places.runs, &folder)?, &server.contents)
    });
    Ok(page_or_message(page.await))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfClaim {
    claim: String,
}

async fn report(Shared(server): Lab, asked: Result<Query<OfClaim>, QueryRejection>) -> Answer {
    let Query(OfClaim { claim }) = asked?;
    let made = apart(&server, move |server| looks::report_of_claim(&claim, &server.places, server.tries.scratch()));
    Ok(page_or_message(made.await))
}

fn event(name: &str, data: &serde_json::Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

fn sse(events: impl Stream<Item = Event> + Send + 'static) -> Response {
    Sse::new(events.map(Ok::<_, Infallible>)).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

/// What is to be told about a run beside its files.
#[derive(Default)]
struct Look {
    warnings: Vec<String>,
    /// How it ended, if it has.
    over: Option<serde_json::Value>,
}

/// What is new in a run folder every `tick`, until `look` says how it ended. Events carry `id`. `of` is held until then, or until nobody
/// listens.
fn news<T: Send + 'static>(
    id: String,
    followed: Followed,
    of: T,
    look: impl Fn(&T) -> Look + Send + 'static,
    tick: Duration,
) -> impl Stream<Item = Event> + Send + 'static {
    let begun = Some((id, followed, of, look, tokio::time::interval(tick)));
    let rounds = stream::unfold(begun, |going| async move {
        let (id, mut followed, of, look, mut interval) = going?;
        interval.tick().await;
        // First whether it is over, then what is new: nothing is missed.
        let Look { warnings, over } = look(&of);
        let mut events: Vec<Event> = warnings.iter().map(|text| event("warning", &json!(text))).collect();
        let News { snapshots, picture } = followed.news();
        if snapshots.anew {
            events.push(event("anew", &json!({})));
        }
        if !snapshots.lines.is_empty() {
            events.push(Event::default().event("snapshots").data(format!("[{}]", snapshots.lines.join(","))));
        }
        events.extend(picture.map(|line| Event::default().event("picture").data(line)));
        events.extend(over.iter().map(|how| event("over", how)));
        let events: Vec<Event> = events.into_iter().map(|event| event.id(&id)).collect();
        let going = over.is_none().then_some((id, followed, of, look, interval));
        Some((stream::iter(events), going))
    });
    rounds.flatten()
}
