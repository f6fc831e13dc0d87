//! Many at once, who wait, or send what they don't finish.

use super::{super::bodies::LARGE_BYTES, *};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_idle_connections_keep_nobody_out() {
    // As it runs, but for the time: none of them leaves by itself.
    let limits = ConnectionLimits {
        header_timeout: Duration::from_mins(10),
        handshake_timeout: Duration::from_mins(10),
        ..Default::default()
    };
    let pki = Pki::new();
    let served = serving(limits, pki.config().into()).await;
    let mut idle = Vec::new();
    for number in 0..2_000 {
        idle.push(served.tcp().await);
        if number % 500 == 499 {
            let mut honest = Client::http2(pki.connect(&served, &["h2"]).await.unwrap()).await;
            assert_eq!(
                honest.get("/now").await.unwrap(),
                ok("now"),
                "after {number}"
            );
        }
    }
    let stats = &served.stats;
    assert!(stats.open() <= limits.connections_max);
    assert!(stats.shed() >= 2_000 - 1_024, "{} were cut", stats.shed());
    assert_eq!(stats.refused(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_begun_and_held_back_take_no_more_memory_than_agreed() {
    const PIECE: usize = 300 * 1024;
    let limits = ConnectionLimits {
        body_bytes_max: 1 << 20,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let head = format!(
        "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        PIECE * 3
    );
    // Each lives until it is told off, and has said so then.
    let told = Arc::new(Semaphore::new(0));
    for _ in 0..8 {
        let mut stream = served.tcp().await;
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; PIECE]).await.unwrap();
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            let mut start = [0; 12];
            // What of its body nobody read may reset the connection before the answer is read.
            let read = stream.read_exact(&mut start).await;
            assert!(read.is_err() || &start == b"HTTP/1.1 503");
            told.add_permits(1);
        });
    }
    let until_told = async |times| within(told.acquire_many(times)).await.unwrap().forget();
    // Three have room.
    until_told(5).await;
    let mut honest = served.http2().await;
    let body = vec![b'x'; PIECE * 2];
    let request = Request::post("http://localhost/length").header("host", "localhost");
    let request = request.body(Body::from(body)).unwrap();
    let length = ok(&(PIECE * 2).to_string());
    assert_eq!(honest.send(request).await.unwrap(), length);
    // Beside it one has.
    until_told(2).await;
    assert_eq!(told.available_permits(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_are_handled_one_after_the_other_and_small_ones_beside_them() {
    let served = serving(ConnectionLimits::default(), None).await;
    let mut large = Vec::new();
    for number in 0..4 {
        let mut client = if number % 2 == 0 {
            served.http1().await
        } else {
            served.http2().await
        };
        let body = Body::from(vec![b'x'; LARGE_BYTES + 1]);
        let request = Request::post("http://localhost/held").header("host", "localhost");
        let request = request.body(body).unwrap();
        large.push(tokio::spawn(async move { client.send(request).await }));
    }
    for _ in 0..4 {
        served.gate.until_entered(1).await;
        for _ in 0..10 {
            assert_eq!(served.http1().await.get("/now").await.unwrap(), ok("now"));
        }
        let small = Request::post("http://localhost/length").header("host", "localhost");
        let small = small.body(Body::from("small")).unwrap();
        assert_eq!(served.http2().await.send(small).await.unwrap(), ok("5"));
        assert_eq!(served.gate.entered.available_permits(), 0, "two at once");
        served.gate.open.add_permits(1);
    }
    for client in large {
        assert_eq!(within(client).await.unwrap().unwrap(), ok("released"));
    }
}
