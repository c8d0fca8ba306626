"""Firefox, with its sandbox, loads a page that talks to a server:

    firefox.py URL CA

CA is a file with an authority in PEM, which goes into the profile: Firefox takes none
from the environment. The page comes from here, and tells how it ended."""

import http.server
import os
import subprocess
import sys
import tempfile

PREFERENCES = {
    # Nothing that Firefox asks for by itself.
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.safebrowsing.blockedURIs.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "security.OCSP.enabled": 0,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "toolkit.telemetry.enabled": False,
}
PAGE = os.path.join(os.path.dirname(__file__), "page.html")
TELL = "<script>ws.addEventListener('close', () => fetch('/', { method: 'POST', body: document.title }))</script>"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/":
            return self.send_error(404)
        with open(PAGE) as page:
            self.answer(page.read() + TELL)

    def do_POST(self):
        self.server.title = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.answer("")

    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def write_profile(profile, ca):
    with open(os.path.join(profile, "user.js"), "w") as f:
        for name, value in PREFERENCES.items():
            value = f'"{value}"' if isinstance(value, str) else str(value).lower()
            f.write(f'user_pref("{name}", {value});\n')
    for args in (["-N", "--empty-password"], ["-A", "-n", "wstrace", "-t", "C,,", "-i", ca]):
        subprocess.run(["certutil", "-d", "sql:" + profile, *args], check=True)


def main(url, ca):
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    server.title = None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        write_profile(profile, ca)
        page = f"http://127.0.0.1:{server.server_port}/#{url}"
        firefox = subprocess.Popen(["firefox-esr", "--headless", "--no-remote", "--profile", profile, page], stderr=subprocess.DEVNULL)
        while server.title is None:
            server.handle_request()
        firefox.terminate()
        firefox.wait()
    want = '["hello from a page",[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]]'
    if server.title != want:
        sys.exit("got " + server.title)


main(*sys.argv[1:])
