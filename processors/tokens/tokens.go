// Package tokens does what peers tell about credentials over RabbitMQ: it stores
// the tokens that identity announces, and checks credentials on demand
// (contract/amqp.md 5.1 and 5.2, contract/enrichment.md 5.6).
//
// What is stored is rows of table credential, each by one statement that the
// store makes safe against what happens meanwhile. Handled twice, a message
// leaves the same row. Out of order, a token that its provider refuses never
// displaces one that works: messages carry neither number nor time.
//
// A message says too little, or what no provider could use: it is poison. It is
// about another platform, a source that has no validator, a credential that is
// not there: ignored. Postgres, RabbitMQ or the provider is away: an outage, and
// the row stays as it is.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"

	"beat/providers"
	"beat/providers/credential"
	"beat/providers/identity"
	"beat/streams/listen"
	"beat/streams/social"
)

// A Validator says whether a credential is accepted: nil, an error that wraps
// providers.ErrRefused, or one that says nothing about it.
type Validator interface {
	Validate(ctx context.Context, c providers.Credential) error
}

// Config of a Keeper.
type Config struct {
	Validators map[string]Validator // by source; others are never checked
	// Identity is asked for a token where there is none, or a refused one. Nil:
	// nobody is.
	Identity func(ctx context.Context, handle string) (*identity.Account, error)
	// Request stores a message for Validate, and returns once it is stored.
	Request func(ctx context.Context, id string, body []byte) error
}

// A Keeper handles the messages of two queues.
type Keeper struct {
	lg    *slog.Logger
	store *credential.Store
	cfg   Config
}

// New returns a Keeper of store, whose Run has to run beside it.
func New(lg *slog.Logger, store *credential.Store, cfg Config) *Keeper {
	return &Keeper{lg.With("stage", "tokens"), store, cfg}
}

// Handlers are those of the two queues.
func (k *Keeper) Handlers() map[string]listen.Handler {
	return map[string]listen.Handler{listen.TokenQueue: k.Token, listen.ValidateQueue: k.Validate}
}

// source is whose tokens identity has.
const source = "graphapi"

// Token stores a new access token, or that one has expired, and asks for its
// validation.
func (k *Keeper) Token(ctx context.Context, d listen.Delivery) error {
	accounts, err := readAccounts(d.Body)
	if err != nil {
		return err
	}
	var skipped error
	done := 0
	for _, a := range accounts {
		err := k.account(ctx, a)
		if listen.Ignored(err) {
			skipped = err
			continue
		}
		if err != nil {
			return err // what was stored is stored again
		}
		done++
	}
	if done == 0 {
		return skipped
	}
	return nil
}

func (k *Keeper) account(ctx context.Context, a account) error {
	if !strings.EqualFold(string(a.Platform), string(social.Instagram)) {
		return listen.Ignore("its platform is not INSTAGRAM")
	}
	old, works, err := k.store.Find(ctx, source, a.handle())
	known := err == nil
	if err != nil && !errors.Is(err, credential.ErrUnknown) {
		return listen.Outage(err)
	}
	if a.Expired {
		switch {
		case !known:
			return listen.Ignore("its token has expired, and there is none")
		case a.Token != "" && old.Fields["token"] != providers.Secret(a.Token):
			return listen.Ignore("the token that has expired is not the one that is stored")
		}
		if err := k.load(ctx); err != nil {
			return err
		}
		if err := k.store.Refuse(ctx, old, "identity says that the token has expired", true); err != nil {
			return listen.Outage(err)
		}
		return nil
	}
	if a.Token == "" {
		return listen.Ignore("it has no token")
	}
	c := providers.Credential{Source: source, Handle: a.handle(), Fields: map[string]providers.Secret{
		"token": providers.Secret(a.Token), "user_id": providers.Secret(a.UserID)}}
	if known && works && !maps.Equal(old.Fields, c.Fields) {
		refused, err := k.refused(ctx, c)
		if refused {
			k.lg.WarnContext(ctx, "new token is refused, the stored one stays", "credential", old.ID, "err", err)
			return listen.Ignore("its token is refused, and the stored one works")
		}
		// Unknown: as the contract has it. The validation finds out.
	}
	id, err := k.add(ctx, c)
	if err != nil {
		return err
	}
	body := fmt.Appendf(nil, `{"id":%d}`, id)
	if err := k.cfg.Request(ctx, "validate/"+strconv.FormatInt(id, 10), body); err != nil {
		return listen.Outage(fmt.Errorf("ask for validation: %w", err))
	}
	return nil
}

// add stores c, enabled.
func (k *Keeper) add(ctx context.Context, c providers.Credential) (int64, error) {
	id, created, err := k.store.Add(ctx, c, 0)
	switch {
	case errors.Is(err, credential.ErrInvalid):
		return 0, listen.Malformed("%s", credential.Scrub(c, err.Error()))
	case err != nil:
		return 0, listen.Outage(err)
	}
	k.lg.InfoContext(ctx, "token stored", "credential", id, "provider", c.Source, "new", created)
	return id, nil
}

// Validate checks a credential and writes down what comes of it.
func (k *Keeper) Validate(ctx context.Context, d listen.Delivery) error {
	ask, err := readAsk(d.Body)
	if err != nil {
		return err
	}
	if ask.fields != nil {
		return k.given(ctx, providers.Credential{Source: ask.source, Handle: ask.handle, Fields: ask.fields})
	}
	// First the store's rows, then the credential: it refuses none that has other
	// fields than the row it knows.
	if err := k.load(ctx); err != nil {
		return err
	}
	var c providers.Credential
	if ask.id != 0 {
		c, _, err = k.store.FindID(ctx, ask.id)
	} else {
		c, _, err = k.store.Find(ctx, ask.source, ask.handle)
	}
	switch {
	case errors.Is(err, credential.ErrUnknown) && ask.source == source && ask.handle != "":
		return k.replace(ctx, providers.Credential{Source: source, Handle: ask.handle}, "there is no such credential")
	case errors.Is(err, credential.ErrUnknown):
		return listen.Ignore("there is no such credential")
	case err != nil:
		return listen.Outage(err)
	case k.cfg.Validators[c.Source] == nil:
		return listen.Ignore("its source has no validator")
	}
	bad := error(errors.New("its fields cannot be used"))
	refused := c.Fields == nil
	if !refused {
		refused, bad = k.refused(ctx, c)
	}
	switch {
	case bad == nil:
		if err := k.store.Enable(ctx, c.ID); err != nil && !errors.Is(err, credential.ErrUnknown) {
			return listen.Outage(err)
		}
		return nil
	case !refused:
		return unknown(c, bad)
	}
	why := bad.Error()
	e, _ := errors.AsType[*providers.Error](bad)
	if e != nil {
		why = e.Message + ": " + e.Detail
	}
	if err := k.store.Refuse(ctx, c, why, e != nil && e.Expired); err != nil {
		return listen.Outage(err)
	}
	if c.Source != source || c.Handle == "" {
		return nil
	}
	if err := k.replace(ctx, c, why); !listen.Ignored(err) {
		return err
	}
	return nil
}

// given checks a credential that came with the message.
func (k *Keeper) given(ctx context.Context, c providers.Credential) error {
	if k.cfg.Validators[c.Source] == nil {
		return listen.Ignore("its source has no validator")
	}
	refused, err := k.refused(ctx, c)
	switch {
	case err == nil:
		_, err := k.add(ctx, c)
		return err
	case !refused:
		return unknown(c, err)
	}
	if err := k.load(ctx); err != nil {
		return err
	}
	old, _, findErr := k.store.Find(ctx, c.Source, c.Handle)
	switch {
	case errors.Is(findErr, credential.ErrUnknown) || findErr == nil && !maps.Equal(old.Fields, c.Fields):
		return listen.Ignore("it is refused, and none that is stored")
	case findErr != nil:
		return listen.Outage(findErr)
	}
	e, _ := errors.AsType[*providers.Error](err)
	if err := k.store.Refuse(ctx, old, credential.Scrub(c, err.Error()), e != nil && e.Expired); err != nil {
		return listen.Outage(err)
	}
	return nil
}

// replace asks identity for a token instead of c, which is refused or not there,
// and stores one that is accepted. Without any it says why and ignores.
func (k *Keeper) replace(ctx context.Context, c providers.Credential, why string) error {
	if k.cfg.Identity == nil {
		return listen.Ignore(why)
	}
	a, err := k.cfg.Identity(ctx, c.Handle)
	if err != nil {
		// The credential is written down already; the next validation asks again.
		k.lg.WarnContext(ctx, "identity was not asked", "err", err)
		return listen.Ignore(why + ", and identity does not answer")
	}
	if a == nil || a.Platform != string(social.Instagram) || a.Token == c.Fields["token"] {
		return listen.Ignore(why + ", and identity has no other")
	}
	fresh := providers.Credential{Source: source, Handle: c.Handle, Fields: map[string]providers.Secret{
		"token": a.Token, "user_id": providers.Secret(a.UserID)}}
	if v := k.cfg.Validators[source]; v != nil {
		refused, err := k.refused(ctx, fresh)
		if refused {
			return listen.Ignore(why + ", and that of identity is refused too")
		}
		if err != nil {
			return unknown(fresh, err)
		}
	}
	_, err = k.add(ctx, fresh)
	return err
}

// refused asks the validator of c, if there is one. Its error is nil when c is
// accepted; refused says that it is about c.
func (k *Keeper) refused(ctx context.Context, c providers.Credential) (refused bool, err error) {
	v := k.cfg.Validators[c.Source]
	if v == nil {
		return false, nil
	}
	err = v.Validate(ctx, c)
	return errors.Is(err, providers.ErrRefused), err
}

// unknown is what to do when a validator could not say.
func unknown(c providers.Credential, err error) error {
	err = errors.New(credential.Scrub(c, err.Error()))
	return listen.Outage(fmt.Errorf("credential of %s cannot be checked: %w", c.Source, err))
}

func (k *Keeper) load(ctx context.Context) error {
	if err := k.store.Load(ctx); err != nil {
		return listen.Outage(err)
	}
	return nil
}
