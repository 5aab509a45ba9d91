use axum::{
    http::{Request as HttpRequest, header::HOST},
    response::IntoResponse as _,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusBuilder;
use tower::ServiceExt as _;

use super::*;

/// Series of requests, and how many of them there were.
async fn series(requests: &[(&str, &str)]) -> Vec<String> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let router = Router::new()
        .route("/files/{name}", get(async || "x").post(async || StatusCode::SERVICE_UNAVAILABLE))
        .fallback(async || StatusCode::NOT_FOUND)
        // As gateways have it: what stands around all routes is measured too, and knows better what hosts are.
        .layer(axum::middleware::from_fn(async |request: Request, next: Next| {
            if request.headers().contains_key(HOST) {
                seen_as(request.extensions(), "another host");
                return StatusCode::OK.into_response();
            }
            next.run(request).await
        }));
    let router = observed(router, "public");
    for (method, path) in requests {
        let mut request = HttpRequest::builder().method(*method).uri(*path);
        if path.starts_with("http://") {
            request = request.header(HOST, "other");
        }
        router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    }
    let text = recorder.handle().render();
    let counts =
        text.lines().filter_map(|line| line.strip_prefix("pinstripe_http_request_duration_seconds_count"));
    let mut counts: Vec<String> = counts.map(str::to_string).collect();
    counts.sort();
    counts
}

#[tokio::test]
async fn requests_are_counted_by_route_and_nothing_that_was_sent_becomes_a_label() {
    let mut requests =
        vec![("POST", "/files/a"), ("DELETE", "/files/secret"), ("GET", "/other/secret?key=secret")];
    let names: Vec<String> = (0..50).map(|number| format!("/files/secret{number}?key=secret")).collect();
    requests.extend(names.iter().map(|path| ("GET", path.as_str())));
    requests.extend([("MAKEUP", "/secret"), ("ANOTHER", "/secret")]);
    requests.extend([("GET", "http://secret/files/secret"), ("GET", "http://secret/secret")]);
    let counts = series(&requests).await;
    let with = |route: &str, method: &str, status: &str| {
        format!("{{listener=\"public\",route=\"{route}\",method=\"{method}\",status=\"{status}\"}}")
    };
    let mut expected = vec![
        with("/files/{name}", "GET", "2xx") + " 50",
        with("/files/{name}", "POST", "5xx") + " 1",
        with("/files/{name}", "DELETE", "4xx") + " 1",
        with("other", "GET", "4xx") + " 1",
        with("other", "other", "4xx") + " 2",
        with("another host", "GET", "2xx") + " 2",
    ];
    expected.sort();
    assert_eq!(counts, expected);
}
