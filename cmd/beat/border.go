package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"beat/gateway"
	"beat/gateway/access"
)

// borderFlags is who may ask the gateway, and how much at once.
type borderFlags struct {
	Tokens       string `help:"Tokens that the gateway knows, NAME:SCOPE:SHA256, separated by commas; beat token new makes them. They are asked for on the routes for operators, unless the gateway listens on a loopback address." env:"BEAT_TOKENS" placeholder:"TOKENS"`
	TokensFile   string `help:"File with more of them, one a line; read again when it changes." env:"BEAT_TOKENS_FILE" placeholder:"FILE"`
	AuthLegacy   bool   `help:"Ask for tokens on the routes of the existing system, too, wherever the gateway listens." env:"BEAT_AUTH_LEGACY"`
	TLSCert      string `help:"Certificate chain with which the gateway speaks TLS, PEM; read again when it changes." env:"BEAT_TLS_CERT" name:"tls-cert" placeholder:"FILE"`
	TLSKey       string `help:"Its key, PEM." env:"BEAT_TLS_KEY" name:"tls-key" placeholder:"FILE"`
	MaxRequests  int    `help:"Requests that may be under way at once." env:"BEAT_MAX_REQUESTS" default:"1024"`
	MaxPerClient int    `help:"Requests of one token or address that may be." env:"BEAT_MAX_PER_CLIENT" default:"512"`
}

// A border is what borderFlags say.
type border struct {
	flags  borderFlags
	tokens func() access.Tokens
	cert   *reread[*tls.Certificate] // nil: plain HTTP
}

func (f borderFlags) border(lg *slog.Logger) (b border, err error) {
	b.flags = f
	if f.MaxRequests < 0 || f.MaxPerClient < 0 {
		return b, usageError{errors.New("--max-requests and --max-per-client must not be negative")}
	}
	fixed, err := access.Parse(f.Tokens)
	if err != nil {
		return b, usageError{fmt.Errorf("BEAT_TOKENS: %w", err)}
	}
	b.tokens = func() access.Tokens { return fixed }
	if f.TokensFile != "" {
		all, err := newReread(lg, func() (access.Tokens, error) { return tokensOf(f.TokensFile, f.Tokens) }, f.TokensFile)
		if err != nil {
			return b, usageError{fmt.Errorf("BEAT_TOKENS_FILE: %w", err)}
		}
		b.tokens = all.get
	}
	switch {
	case f.TLSCert == "" && f.TLSKey == "":
		return b, nil
	case f.TLSCert == "" || f.TLSKey == "":
		return b, usageError{errors.New("TLS needs both --tls-cert and --tls-key")}
	}
	b.cert, err = newReread(lg, func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(f.TLSCert, f.TLSKey)
		return &pair, err
	}, f.TLSCert, f.TLSKey)
	if err != nil {
		return b, usageError{fmt.Errorf("--tls-cert, --tls-key: %w", err)}
	}
	return b, nil
}

// tokensOf are the tokens of a file and the others together.
func tokensOf(file, others string) (access.Tokens, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return access.Parse(string(text) + "\n" + others)
}

// of is the border of a gateway that listens on addr.
func (b border) of(addr net.Addr) gateway.Border {
	return gateway.Border{Tokens: b.tokens, Operators: !loopback(addr), Contract: b.flags.AuthLegacy,
		Requests: b.flags.MaxRequests, PerClient: b.flags.MaxPerClient}
}

func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// say tells the log who may ask.
func (b border) say(lg *slog.Logger, addr net.Addr) {
	n := len(b.tokens())
	lg.Info("gateway listens", "addr", addr.String(), "tls", b.cert != nil, "tokens", n, "auth_legacy", b.flags.AuthLegacy)
	switch {
	case n == 0 && b.flags.AuthLegacy:
		lg.Warn("nobody may ask the gateway: it asks for tokens and knows none (beat token new)")
	case n == 0 && !loopback(addr):
		lg.Info("routes for operators are closed, /metrics among them: the gateway knows no tokens (beat token new)")
	}
}

// serve is srv.Serve, with TLS if there is a certificate.
func (b border) serve(srv *http.Server, l net.Listener) error {
	if b.cert == nil {
		return srv.Serve(l)
	}
	srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return b.cert.get(), nil }}
	return srv.ServeTLS(l, "", "")
}

type tokenCmd struct {
	New tokenNewCmd `cmd:"" help:"Make a token. It is printed once and stored nowhere."`
}

type tokenNewCmd struct {
	Scope string `required:"" help:"read: tasks, metrics, why. refresh: also what begins work. admin: also what changes tasks and the process."`
	Name  string `help:"What logs and limits call it, such as prometheus; default is the scope and six letters."`
}

func (tokenNewCmd) Help() string {
	return `Prints a token and the line by which a gateway knows it, which holds its digest alone. Put the line
into BEAT_TOKENS, or into the file of BEAT_TOKENS_FILE, which a running gateway reads again; take it
out to take the token back.

  beat token new --scope read --name prometheus
  curl -H "Authorization: Bearer beat_…" http://gateway:8000/metrics`
}

func (c *tokenNewCmd) Run(_ context.Context, g *globals) error {
	scope, err := access.ParseScope(c.Scope)
	if err != nil {
		return usageError{fmt.Errorf("--scope: %w", err)}
	}
	if c.Name == "" {
		c.Name = scope.String() + "-" + strings.ToLower(rand.Text()[:6])
	}
	secret, token, err := access.New(c.Name, scope)
	if err != nil {
		return usageError{fmt.Errorf("--name: %w", err)}
	}
	if g.JSON {
		return show(g.stdout, map[string]string{"token": secret, "config": token.String()})
	}
	fmt.Fprintf(g.stdout, "Token, which is shown this once:\n\n  %s\n\nLine for BEAT_TOKENS, or the file of BEAT_TOKENS_FILE:\n\n  %s\n", secret, token)
	return nil
}
