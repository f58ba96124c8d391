//! A frame as a request and, by the same key and version, its body as a response. What is read is written and read
//! again as the same bytes.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sordini_protocol::frame::{decode_request, decode_response, encode_request, encode_response};
use sordini_protocol::{ApiKey, Encoded, Spliced};

/// The frame, without its size.
fn whole(encoded: &Encoded) -> Bytes {
    let mut whole = Vec::new();
    let mut from = 4;
    for splice in &encoded.splices {
        let Spliced::Bytes(bytes) = &splice.what else { panic!("decoding gives no stored range") };
        whole.extend_from_slice(&encoded.bytes[from..splice.at]);
        whole.extend_from_slice(bytes);
        from = splice.at;
    }
    whole.extend_from_slice(&encoded.bytes[from..]);
    whole.into()
}

fuzz_target!(|data: &[u8]| {
    let frame = Bytes::copy_from_slice(data);
    if let Ok((header, request)) = decode_request(frame.clone()) {
        let written = whole(&encode_request(&header, &request).expect("what was read can be written"));
        let (header, request) = decode_request(written.clone()).expect("what was written can be read");
        let again = whole(&encode_request(&header, &request).expect("what was read can be written"));
        assert_eq!(again, written);
    }
    let [key, version, ..] = data else { return };
    let (Ok(api_key), version) = (ApiKey::try_from(i16::from(*key)), i16::from(*version)) else { return };
    if let Ok((header, response)) = decode_response(api_key, version, frame.slice(2..)) {
        let encode = |response| whole(&encode_response(header.correlation_id, api_key, version, response).expect("read"));
        let written = encode(&response);
        let (_, response) = decode_response(api_key, version, written.clone()).expect("what was written can be read");
        assert_eq!(encode(&response).len(), written.len());
    }
});
