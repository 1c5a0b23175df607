"""In a real browser: Chromium, driven by Playwright."""
