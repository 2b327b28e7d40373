package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"beat/processors"
	"beat/processors/retrieval"
	"beat/providers"
	"beat/providers/credential"
	"beat/providers/ratelimit"
	"beat/streams/social"
)

// sealFlags is the key of credentials that are sealed at rest.
type sealFlags struct {
	CredentialKey string `help:"Key of the credentials that are sealed at rest: 32 bytes, base64. Better in the environment than here." env:"BEAT_CREDENTIAL_KEY" name:"credential-key" placeholder:"KEY"`
}

func (f sealFlags) key() ([]byte, error) {
	key, err := credential.ParseKey(f.CredentialKey)
	if err != nil {
		return nil, usageError{err}
	}
	return key, nil
}

type credentialsCmd struct {
	List    credentialsListCmd    `cmd:"" help:"List the credentials and their states, without their values."`
	Add     credentialsAddCmd     `cmd:"" help:"Store a credential, or replace that of the same source and handle."`
	Disable credentialsDisableCmd `cmd:"" help:"Take a credential out of use, for good or for a while."`
	Enable  credentialsEnableCmd  `cmd:"" help:"Put a credential back to use, whatever happened to it."`
	Test    credentialsTestCmd    `cmd:"" help:"Make one real call with a credential and say what came of it. Its row is not changed."`
	Seal    credentialsSealCmd    `cmd:"" help:"Encrypt the values that are stored plain. Every process needs the key then."`
}

// tableFlags is what each of these commands needs.
type tableFlags struct {
	pgFlags
	sealFlags
}

// open connects to the table. The store is not loaded.
func (f tableFlags) open(ctx context.Context, g *globals, set providers.Set) (*credential.Store, func(), error) {
	lg, err := g.logger()
	if err != nil {
		return nil, nil, usageError{err}
	}
	key, err := f.key()
	if err != nil {
		return nil, nil, err
	}
	db, err := openPG(ctx, f.PGURL, 2)
	if err != nil {
		return nil, nil, err
	}
	return credential.New(lg, db, set, credential.Config{Key: key}), db.Close, nil
}

func realHosts(string) string { return "" }

type credentialsListCmd struct {
	tableFlags
	Source string `help:"Only this source."`
}

func (c *credentialsListCmd) Run(ctx context.Context, g *globals) error {
	s, done, err := c.open(ctx, g, providerTable(realHosts))
	if err != nil {
		return err
	}
	defer done()
	rows, err := s.Rows(ctx)
	if err != nil {
		return err
	}
	if c.Source != "" {
		rows = slices.DeleteFunc(rows, func(r credential.Row) bool { return r.Source != c.Source })
	}
	if g.JSON {
		return show(g.stdout, rows)
	}
	out := make([][]any, 0, len(rows))
	for _, r := range rows {
		sealed := ""
		if r.Sealed {
			sealed = "sealed"
		}
		out = append(out, []any{r.ID, r.Source, r.Handle, r.Weight, stateText(r), strings.Join(r.Fields, ", "), sealed})
	}
	grid(g.stdout, []any{"id", "source", "handle", "weight", "state", "fields", ""}, out)
	return nil
}

func stateText(r credential.Row) string {
	text := r.State
	if r.Until != nil {
		text += " until " + when(r.Until)
	}
	if r.Reason != "" { // which may begin with the word
		text += ": " + clip(strings.TrimPrefix(r.Reason, r.State+": "), 80)
	}
	return text
}

type credentialsAddCmd struct {
	tableFlags
	Source string   `arg:"" help:"Source that the credential is for."`
	Fields []string `arg:"" optional:"" help:"The fields: name=value, or name=@file for the text of a file, or a single - for a JSON object on standard input. The last two keep secrets out of the shell's history and the list of processes."`
	Handle string   `help:"Account that it belongs to."`
	Weight int      `help:"Share of the calls, against the weights of the source's other credentials. Default 1, or as it was."`
}

// Help implements kong.HelpProvider.
func (c *credentialsAddCmd) Help() string {
	return `A source and handle have one credential; adding it again replaces its fields and makes it ready.

Examples:
  beat credentials add ytapitoken key=@key.txt
  beat credentials add graphapi --handle ann - < token.json`
}

func (c *credentialsAddCmd) Run(ctx context.Context, g *globals) error {
	set := providerTable(realHosts)
	if set[c.Source] == nil {
		return usageError{fmt.Errorf("unknown source %q: sources are %s", c.Source, strings.Join(slices.Sorted(maps.Keys(set)), ", "))}
	}
	fields, err := readFields(c.Fields, os.Stdin)
	if err != nil {
		return usageError{err}
	}
	s, done, err := c.open(ctx, g, set)
	if err != nil {
		return err
	}
	defer done()
	id, created, err := s.Add(ctx, providers.Credential{Source: c.Source, Handle: c.Handle, Fields: fields}, c.Weight)
	if errors.Is(err, credential.ErrInvalid) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, map[string]any{"id": id, "created": created})
	}
	word := "replaced"
	if created {
		word = "added"
	}
	fmt.Fprintf(g.stdout, "%s credential %d of %s\n", word, id, c.Source)
	return nil
}

// maxFields bounds what is read from a file or from standard input.
const maxFields = 1 << 20

// readFields reads the fields from arguments. An error names an argument by
// its place or its name: what it says may be a secret.
func readFields(args []string, stdin io.Reader) (map[string]providers.Secret, error) {
	if len(args) == 0 {
		return nil, errors.New("no fields: want name=value, name=@file, or - for a JSON object on standard input")
	}
	if slices.Contains(args, "-") {
		if len(args) > 1 {
			return nil, errors.New("- stands for all fields: want no other beside it")
		}
		data, err := io.ReadAll(io.LimitReader(stdin, maxFields))
		if err != nil {
			return nil, errors.New("standard input cannot be read")
		}
		fields, err := credential.ParseFields(data)
		if err != nil {
			return nil, fmt.Errorf("standard input: want a JSON object of texts: %w", err)
		}
		return fields, nil
	}
	out := map[string]providers.Secret{}
	for i, a := range args {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("field %d is not name=value or name=@file", i+1)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("field %q is given twice", name)
		}
		if path, is := strings.CutPrefix(value, "@"); is {
			data, err := readFile(path)
			if err != nil {
				return nil, fmt.Errorf("field %q: its file cannot be read", name)
			}
			value = strings.TrimRight(string(data), "\r\n")
		}
		out[name] = providers.Secret(value)
	}
	return out, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(f, maxFields))
}

type credentialsDisableCmd struct {
	tableFlags
	ID     int64         `arg:"" help:"Number of the credential."`
	For    time.Duration `help:"Only for so long; default for good."`
	Reason string        `help:"Why, for those who look at it later."`
}

func (c *credentialsDisableCmd) Run(ctx context.Context, g *globals) error {
	if c.For < 0 {
		return usageError{errors.New("--for must not be negative")}
	}
	return changed(ctx, g, c.tableFlags, c.ID, func(s *credential.Store) error { return s.Disable(ctx, c.ID, c.For, c.Reason) })
}

type credentialsEnableCmd struct {
	tableFlags
	ID int64 `arg:"" help:"Number of the credential."`
}

func (c *credentialsEnableCmd) Run(ctx context.Context, g *globals) error {
	return changed(ctx, g, c.tableFlags, c.ID, func(s *credential.Store) error { return s.Enable(ctx, c.ID) })
}

// changed changes credential id and shows how it is now.
func changed(ctx context.Context, g *globals, f tableFlags, id int64, change func(*credential.Store) error) error {
	s, done, err := f.open(ctx, g, providerTable(realHosts))
	if err != nil {
		return err
	}
	defer done()
	if err := change(s); err != nil {
		return err
	}
	rows, err := s.Rows(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.ID != id {
			continue
		}
		if g.JSON {
			return show(g.stdout, r)
		}
		fmt.Fprintf(g.stdout, "credential %d of %s is %s\n", r.ID, r.Source, stateText(r))
	}
	return nil
}

type credentialsSealCmd struct{ tableFlags }

func (c *credentialsSealCmd) Run(ctx context.Context, g *globals) error {
	if c.CredentialKey == "" {
		return usageError{fmt.Errorf("no key: set %s to 32 bytes in base64, such as `openssl rand -base64 32` prints", credential.KeySetting)}
	}
	s, done, err := c.open(ctx, g, providerTable(realHosts))
	if err != nil {
		return err
	}
	defer done()
	n, err := s.Seal(ctx)
	if err != nil {
		return err
	}
	if g.JSON {
		return show(g.stdout, map[string]int{"sealed": n})
	}
	fmt.Fprintf(g.stdout, "%d credentials sealed\n", n)
	return nil
}

type credentialsTestCmd struct {
	tableFlags
	Which    string            `arg:"" name:"id|source" help:"Number of a credential, or a source for the next of its ready ones."`
	Key      string            `help:"What to ask for: a handle, channel id or shortcode, as the source wants it. Default a well-known account."`
	RedisURL string            `help:"Redis, for the rate limits: the call counts as any other." env:"REDIS_URL" name:"redis-url" default:"redis://127.0.0.1:6379/0"`
	Endpoint map[string]string `help:"Base URL of a provider instead of the real host, source=URL." env:"BEAT_ENDPOINTS" placeholder:"SOURCE=URL"`
	Limit    map[string]string `help:"Rate limit of a source instead of the contract's, source=REQUESTS/SECONDS; 0/1 is none." env:"BEAT_LIMITS" placeholder:"SOURCE=N/S"`
	Timeout  time.Duration     `help:"How long the call may take." default:"30s"`
	Force    bool              `help:"Also with a credential that rests: its provider may ban it for that."`
}

// tested are the fetch types to test with, the best first, and whom to ask
// for by default.
var tested = []struct {
	fetch social.Fetch
	key   string
}{
	{social.ProfileByHandle, "instagram"},
	{social.ChannelsByIDs, "UC_x5XG1OV2P6uZZ5FSM9Ttw"}, // Google for Developers
	{social.ProfileByID, "25025320"},                   // instagram
}

// testAsk is what to ask p, about key if it is not "".
func testAsk(p *providers.Provider, key string) (social.Ask, error) {
	for _, t := range tested {
		if _, ok := p.Calls[t.fetch]; ok {
			if key == "" {
				key = t.key
			}
			return social.Ask{Fetch: t.fetch, Keys: []string{key}}, nil
		}
	}
	fetches := slices.Sorted(maps.Keys(p.Calls))
	switch {
	case len(fetches) == 0:
		return social.Ask{}, fmt.Errorf("%s answers no question", p.Source)
	case key == "":
		return social.Ask{}, usageError{fmt.Errorf("%s is asked with %s: say for what with --key", p.Source, fetches[0])}
	}
	return social.Ask{Fetch: fetches[0], Keys: []string{key}}, nil
}

// A credentialTest is what came of a test.
type credentialTest struct {
	ID      int64  `json:"id"`
	Source  string `json:"source"`
	Fetch   string `json:"fetch"`
	Verdict string `json:"verdict"` // ok, or the word for the failure
	Status  int    `json:"status"`  // HTTP; 0 without an answer
	Millis  int64  `json:"millis"`
	Says    string `json:"says"`
}

func (c *credentialsTestCmd) Run(ctx context.Context, g *globals) error {
	set := providerTable(func(source string) string { return c.Endpoint[source] })
	d := deps{Endpoint: c.Endpoint, Limit: c.Limit}
	if err := d.checkSources(slices.Sorted(maps.Keys(set))); err != nil {
		return err
	}
	limits, err := d.limits()
	if err != nil {
		return err
	}
	s, done, err := c.open(ctx, g, set)
	if err != nil {
		return err
	}
	defer done()
	cred, err := c.find(ctx, s, set)
	if err != nil {
		return err
	}
	p := set[cred.Source]
	ask, err := testAsk(p, c.Key)
	if err != nil {
		return err
	}
	spec := p.Limit
	if l, ok := limits[p.Source]; ok {
		spec = l
	}
	if err := c.take(ctx, spec); err != nil {
		return err
	}
	r, err := c.call(ctx, p, cred, ask)
	if err != nil {
		return err
	}
	if g.JSON {
		err = show(g.stdout, r)
	} else {
		_, err = fmt.Fprintf(g.stdout, "credential %d of %s: %s, status %d, %d ms  %s\n", r.ID, r.Source, r.Verdict, r.Status, r.Millis, r.Says)
	}
	if err != nil {
		return err
	}
	if r.Verdict != processors.OK && r.Verdict != providers.ErrGone.Error() { // gone: the key was good enough to hear that
		return fmt.Errorf("credential %d of %s did not pass", r.ID, r.Source)
	}
	return nil
}

// find is the credential that was asked for: one by number unless it rests, one
// of a source if it is ready.
func (c *credentialsTestCmd) find(ctx context.Context, s *credential.Store, set providers.Set) (providers.Credential, error) {
	if id, err := strconv.ParseInt(c.Which, 10, 64); err == nil {
		rows, err := s.Rows(ctx)
		if err != nil {
			return providers.Credential{}, err
		}
		for _, r := range rows {
			if r.ID == id && r.Until != nil && !c.Force {
				return providers.Credential{}, fmt.Errorf("credential %d of %s rests until %s (%s): a call before may get it banned, --force makes it all the same",
					id, r.Source, when(r.Until), r.Reason)
			}
		}
		return s.Get(ctx, id)
	}
	if set[c.Which] == nil {
		return providers.Credential{}, usageError{fmt.Errorf("unknown source %q: want the number of a credential, or one of %s",
			c.Which, strings.Join(slices.Sorted(maps.Keys(set)), ", "))}
	}
	if err := s.Load(ctx); err != nil {
		return providers.Credential{}, err
	}
	cred, ready, ok := s.Pick(c.Which, "")
	switch {
	case ok:
		return cred, nil
	case ready.IsZero():
		return cred, fmt.Errorf("%s has no credential in use: beat credentials list --source %s", c.Which, c.Which)
	}
	return cred, fmt.Errorf("all credentials of %s rest, the first until %s: --force and its number test one", c.Which, when(&ready))
}

// take takes the call from the source's limit: an operator must not exceed it
// either.
func (c *credentialsTestCmd) take(ctx context.Context, spec ratelimit.Spec) error {
	if spec.Zero() {
		return nil
	}
	rdb, err := openRedis(ctx, c.RedisURL)
	if err != nil {
		return fmt.Errorf("the rate limit cannot be checked: %w", err)
	}
	defer rdb.Close() //nolint:errcheck // done with it
	taken, err := ratelimit.New(rdb, ratelimit.Calls).Take(ctx, spec)
	if err != nil {
		return err
	}
	if !taken.OK {
		return fmt.Errorf("limit %s is used up: try again in %s", spec.Name, taken.Wait.Round(time.Millisecond))
	}
	return nil
}

func (c *credentialsTestCmd) call(ctx context.Context, p *providers.Provider, cred providers.Credential, ask social.Ask) (credentialTest, error) {
	r := credentialTest{ID: cred.ID, Source: p.Source, Fetch: string(ask.Fetch)}
	call := p.Calls[ask.Fetch]
	q, err := call.Request(cred, ask)
	if err != nil {
		return r, usageError{errors.New(credential.Scrub(cred, err.Error()))}
	}
	began := time.Now()
	a, err := providers.NewClient(providers.ClientConfig{Timeout: c.Timeout}).Do(ctx, p.BaseURL, q)
	a = retrieval.WithoutSecrets(cred, a)
	r.Millis, r.Status = time.Since(began).Milliseconds(), a.Status
	if ctx.Err() != nil {
		return r, ctx.Err()
	}
	if err == nil {
		if e := providers.Classify(p, call, ask, a); e != nil {
			err = e
		}
	}
	if err == nil {
		_, err = call.Parse(ask, a.At, a.Body)
	}
	r.Verdict, r.Says = processors.OK, http.StatusText(a.Status)
	if err != nil {
		r.Verdict, r.Says = providers.Verdict(err), credential.Scrub(cred, err.Error())
	}
	return r, nil
}
