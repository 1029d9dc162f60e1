"""Tests of many processes; harness.py starts them."""
