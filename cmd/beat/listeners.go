package main

import (
	"context"
	"maps"
	"strings"

	"beat/processors/tokens"
	"beat/providers"
	"beat/providers/identity"
	"beat/providers/instagram/graphapi"
	"beat/streams/broker"
	"beat/streams/listen"
)

// peerFlags are what the listeners need of other systems.
type peerFlags struct {
	IdentityURL  string `help:"Identity service, asked for a token where one is missing or refused. Default: nobody is asked." env:"IDENTITY_URL" name:"identity-url" placeholder:"URL"`
	IdentityAuth string `help:"User and password of the identity service, user:password. Better in the environment than here." env:"IDENTITY_BASIC_AUTH" name:"identity-basic-auth" placeholder:"USER:PASSWORD"`
}

// newListener is the role listeners: what peers tell over RabbitMQ.
func (a *app) newListener() (*listen.Listener, error) {
	nodes, err := broker.Parse(a.cfg.RMQURL, a.cfg.RMQCA)
	if err != nil {
		return nil, usageError{err}
	}
	cfg := tokens.Config{Request: func(ctx context.Context, id string, body []byte) error {
		return nodes.Put(ctx, listen.ValidateQueue, id, body)
	}}
	if p := a.set["graphapi"]; p != nil {
		cfg.Validators = map[string]tokens.Validator{
			p.Source: graphapi.NewValidator(p, providers.NewClient(providers.ClientConfig{}), a.cfg.MetaAppToken)}
	}
	if a.cfg.IdentityURL != "" {
		c, err := identity.New(identity.Config{BaseURL: a.cfg.IdentityURL, BasicAuth: strings.TrimSpace(a.cfg.IdentityAuth)})
		if err != nil {
			return nil, usageError{err}
		}
		cfg.Identity = c.Account
	}
	handlers := listen.NewTasks(a.queue, a.db).Handlers()
	maps.Copy(handlers, tokens.New(a.lg, a.creds, cfg).Handlers())
	return listen.New(a.lg, a.pub, listen.Config{
		URL: a.cfg.RMQURL, CA: a.cfg.RMQCA, NoDeclare: !a.cfg.RMQDeclare, QueueType: a.cfg.queueType(), Stop: a.cfg.Stop,
	}, handlers), nil
}
