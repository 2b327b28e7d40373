package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"beat/gateway/client"
)

// newToken is a token as beat token new makes it.
func newToken(t *testing.T, scope string) (secret, line string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"token", "new", "--scope", scope, "--json"}, &out, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	var made struct{ Token, Config string }
	if err := json.Unmarshal(out.Bytes(), &made); err != nil {
		t.Fatal(err)
	}
	return made.Token, made.Config
}

// certificate writes a pair for 127.0.0.1 that is good for an hour.
func certificate(t *testing.T, name, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, text := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

// A gateway that listens on more than a loopback address asks operators for
// tokens, and with BEAT_AUTH_LEGACY everybody; over TLS, whose certificate and
// tokens are replaced while it runs.
func TestBorder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, localConfig{})
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	pool := certificate(t, "first", file("cert"), file("key"))
	admin, adminLine := newToken(t, "admin")
	read, readLine := newToken(t, "read")
	if err := os.WriteFile(file("tokens"), []byte("# of monitoring\n"+readLine+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.deps.Listen = "0.0.0.0:0"
	w.deps.borderFlags = borderFlags{Tokens: adminLine, TokensFile: file("tokens"), AuthLegacy: true, TLSCert: file("cert"), TLSKey: file("key")}
	var log syncBuffer
	a, err := newApp(t.Context(), slog.New(slog.NewTextHandler(&log, nil)), w.deps, w.nc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.serve(a, "gateway"))
	_, port, err := net.SplitHostPort(<-a.addr)
	if err != nil {
		t.Fatal(err)
	}
	root := "https://127.0.0.1:" + port
	as := func(token string) *client.Client {
		c, err := client.New(root, client.Config{Token: token, HTTP: &http.Client{Timeout: time.Minute,
			Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	status := func(_ any, err error) int {
		if err == nil {
			return http.StatusOK
		}
		e, ok := errors.AsType[*client.Error](err)
		switch {
		case !ok:
			t.Log(err)
			return 0
		case e.Code != 0:
			return e.Code
		}
		return e.Status
	}
	ctx := t.Context()
	for token, want := range map[string][3]int{"": {401, 401, 401}, read: {200, 404, 403}, admin: {200, 404, 200}, read + "x": {401, 401, 401}} {
		c := as(token)
		_, task := c.Task(ctx, 4711)
		if got := [3]int{status(c.Metrics(ctx)), status(nil, task), status(nil, c.SetHeartbeat(ctx, true))}; got != want {
			t.Errorf("%.9s…: metrics, task, heartbeat: got %v, want %v", token, got, want)
		}
		if on, err := c.Heartbeat(ctx); err != nil || !on && token == admin {
			t.Errorf("heartbeat: got %v, %v", on, err)
		}
		if missing, err := c.Ready(ctx); err != nil || len(missing) > 0 {
			t.Errorf("ready: got %v, %v", missing, err)
		}
	}

	// A token is taken back, and one is added; what cannot be read changes nothing.
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: not seen; the log says %s", what, log.String())
			}
		}
	}
	if err := os.WriteFile(file("tokens"), []byte("beat_geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	until("tokens that cannot be read", func() bool {
		return status(as(read).Metrics(ctx)) == 200 && strings.Contains(log.String(), "changed file not used")
	})
	other, otherLine := newToken(t, "read")
	if err := os.WriteFile(file("tokens"), []byte(otherLine), 0o600); err != nil {
		t.Fatal(err)
	}
	until("another token", func() bool { return status(as(other).Metrics(ctx)) == 200 })
	if got := status(as(read).Metrics(ctx)); got != 401 {
		t.Errorf("the token that was taken back: got %d, want 401", got)
	}
	if got := status(as(admin).Metrics(ctx)); got != 200 {
		t.Errorf("the token of BEAT_TOKENS: got %d, want 200", got)
	}

	// The certificate is replaced.
	pool = certificate(t, "second", file("cert"), file("key"))
	until("another certificate", func() bool { return status(as(admin).Metrics(ctx)) == 200 })

	if text := log.String(); strings.Contains(text, admin[5:]) || strings.Contains(text, read[5:]) || strings.Contains(text, "geheim") {
		t.Errorf("a token is logged: %s", text)
	}
	// Plain HTTP is told that it is none.
	if res, err := http.Get("http://127.0.0.1:" + port + "/healthz"); err == nil {
		b, _ := io.ReadAll(res.Body) //nolint:errcheck // only for the message
		res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("plain HTTP: got %d %s", res.StatusCode, b)
		}
	}
}

// Mistakes of the border get one clear line and no secret.
func TestBorderMistakes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("x:read:beat_geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"token", "new", "--scope", "write"}, "beat: --scope: want a scope of read, refresh and admin"},
		{[]string{"token", "new", "--scope", "read", "--name", "a:b"}, "beat: --name: a name has"},
		{[]string{"run", "--pg-url", nowhere, "--tokens", "beat_geheim"}, "beat: BEAT_TOKENS: token 1: want NAME:SCOPE:SHA256"},
		{[]string{"run", "--pg-url", nowhere, "--tokens-file", bad}, "beat: BEAT_TOKENS_FILE: token 1: want the SHA-256"},
		{[]string{"run", "--pg-url", nowhere, "--tokens-file", filepath.Join(dir, "none")}, "beat: BEAT_TOKENS_FILE: open "},
		{[]string{"run", "--pg-url", nowhere, "--tls-cert", bad}, "beat: TLS needs both"},
		{[]string{"run", "--pg-url", nowhere, "--tls-cert", bad, "--tls-key", bad}, "beat: --tls-cert, --tls-key: tls: failed to find any PEM data"},
		{[]string{"run", "--pg-url", nowhere, "--max-requests", "-1"}, "beat: --max-requests"},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), c.args, &out, &errs)
		lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
		if last := lines[len(lines)-1]; code != 2 || !strings.HasPrefix(last, c.says) || strings.Contains(errs.String(), "geheim") {
			t.Errorf("%v: exit code %d, %s, want 2, %s", c.args, code, errs.String(), c.says)
		}
	}
}
