use super::*;

#[test]
fn histograms_of_both_units_have_buckets() {
    let recorder = builder().unwrap().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics::histogram!("pinstripe_test_duration_seconds").record(0.02);
        metrics::histogram!("pinstripe_test_bytes").record(5_000.0);
    });
    let text = recorder.handle().render();
    for line in [
        "pinstripe_test_duration_seconds_bucket{le=\"0.01\"} 0",
        "pinstripe_test_duration_seconds_bucket{le=\"0.025\"} 1",
        "pinstripe_test_bytes_bucket{le=\"4096\"} 0",
        "pinstripe_test_bytes_bucket{le=\"16384\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
