"""The MQTT contract of one-key terminals: topics (`topics`) and payloads version 1 (`v1`)."""
