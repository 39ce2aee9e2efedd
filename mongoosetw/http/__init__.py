"""HTTP listeners: metrics now; the APIs, WebSocket and BOSH are further resources."""
