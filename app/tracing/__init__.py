"""Shared. Spans of OpenTelemetry: imported, and paid for, only where `tracing.enabled`."""
