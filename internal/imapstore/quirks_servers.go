package imapstore

import "postbag/internal/mail"

// serverRows are ordered by name.
var serverRows = []Quirk{
	{
		// It answers no ID; its greeting is what it is known by.
		Name:           "Courier",
		Greeting:       []string{"courier-imap ready"},
		MaxConnections: 4, // MAXPERIP is 4 by default in old versions
		Advice: []string{
			"It has no CONDSTORE: each run lists the flags of all messages.",
			"A mailbox that is renamed gets another UIDVALIDITY: its messages are matched by content, and those that were deleted since the last sync come back.",
		},
		Sources: []Source{
			{"MaxConnections", "courier-imap, imapd.dist: MAXPERIP", "2026-11"},
			{"Advice", "seen on 5.0.13; internal/imapstore, TestOtherServers", "2026-11"},
		},
	},
	{
		// LIST-STATUS with other items beside MAILBOXID answers with octets of memory
		// that was freed, the same for several mailboxes.
		Name:        "Cyrus",
		Caps:        []string{"X-CREATEDMODSEQ"},
		Greeting:    []string{"cyrus imap"},
		NoMailboxID: true,
		Sources: []Source{
			{"NoMailboxID", "seen on 3.6.1; internal/imapstore, TestCyrusMailboxIDs", "2026-11"},
		},
	},
	{
		Name:     "DavMail",
		Greeting: []string{"davmail"},
		Presets:  []Preset{{Name: "davmail", Server: "imap://127.0.0.1:1143"}},
		Login:    "DavMail passes user and password on to Exchange, which may want a login in the browser first: look at DavMail's own window",
		Advice: []string{
			"DavMail speaks without TLS unless a key is set up for it: --allow-plaintext to this machine is safe.",
		},
		Sources: []Source{
			{"Presets Login Advice", "http://davmail.sourceforge.net/serversetup.html", "2026-11"},
		},
	},
	{
		Name:            "Domino",
		ID:              []string{"name=domino"},
		Greeting:        []string{"domino imap4 server"},
		NoSearch:        true,
		NoInboxChildren: true,
		Sources: []Source{
			{"NoSearch NoInboxChildren", "https://imapsync.lamiral.info/FAQ.d/FAQ.Domino.txt", "2026-11"},
		},
	},
	{
		Name:           "Dovecot",
		ID:             []string{"name=dovecot"},
		Greeting:       []string{"dovecot"},
		MaxConnections: 4, // others of the user's clients share the 10
		Sources: []Source{
			{"MaxConnections", "doc.dovecot.org: mail_max_userip_connections = 10", "2026-11"},
		},
	},
	{
		Name:             "Exchange",
		ID:               []string{"name=microsoft.exchange"},
		Greeting:         []string{"microsoft exchange"},
		MaxConnections:   8, // 16 for all clients of a user
		Ahead:            1,
		StoreAfterAppend: mail.Flagged, // other clients do not see it
		FoldNames:        true,
		NoEdgeSpaces:     true,
		MaxLine:          10500,
		Presets:          []Preset{{Name: "exchange"}},
		Login:            "the administrator may have to switch IMAP on for this server and mailbox; the user may have to be written DOMAIN\\user, or user@domain",
		Advice: []string{
			"Exchange closes the connection after ten refused messages; postbag goes on with another.",
			"Its limit for a message is 10 MB at first: Set-Mailbox -MaxReceiveSize raises it.",
		},
		Sources: []Source{
			{"MaxConnections", "https://learn.microsoft.com/en-us/exchange/set-connection-limits-for-imap4-exchange-2013-help", "2026-11"},
			{"Ahead", "https://wiki.archlinux.org/index.php/isync#BAD_Command_with_Exchange_2003", "2026-11"},
			{"Ahead", "https://github.com/LukeSmithxyz/mutt-wizard/issues/377", "2026-11"},
			{"StoreAfterAppend FoldNames NoEdgeSpaces MaxLine Login Advice", "https://imapsync.lamiral.info/FAQ.d/FAQ.Exchange.txt", "2026-11"},
			{"MaxLine", "https://imapsync.lamiral.info/FAQ.d/FAQ.Office365.txt", "2026-11"},
			{"Presets", "the address is the company's own", "2026-11"},
		},
	},
	{
		Name:     "Exchange 2010 and before",
		Greeting: []string{"microsoft exchange"},
		Lacks:    []string{"ID"},
		Advice: []string{
			"Before SP2 with update rollup 5, messages that are put there get the date of that moment: install it first.",
		},
		Sources: []Source{
			{"Advice", "https://imapsync.lamiral.info/FAQ.d/FAQ.Exchange.txt", "2026-11"},
		},
	},
	{
		Name: "Exchange 2013",
		ID:   []string{"version=15.00.", "version=15.0."},
		Deny: []string{"MOVE"}, // it answers in a form of its own
		Sources: []Source{
			{"Deny", "https://github.com/domainaware/parsedmarc/issues/80", "2026-11"},
		},
	},
	{
		Name:     "IceWarp",
		ID:       []string{"name=icewarp"},
		Greeting: []string{"icewarp"},
		NoSearch: true,
		Sources: []Source{
			{"NoSearch", "https://imapsync.lamiral.info/FAQ.d/FAQ.IceWarp.txt", "2026-11"},
		},
	},
	{
		Name:     "SmarterMail",
		ID:       []string{"name=smartermail"},
		Greeting: []string{"smartermail"},
		NoSearch: true,
		Sources: []Source{
			{"NoSearch", "https://imapsync.lamiral.info/FAQ.d/FAQ.SmarterMail.txt", "2026-11"},
		},
	},
	{
		Name:     "Softalk",
		ID:       []string{"name=softalk"},
		Greeting: []string{"softalk mail server"},
		NoSearch: true,
		Sources: []Source{
			{"NoSearch", "imapsync, FAQ.d/FAQ.Various_Server_Softwares.txt", "2026-11"},
		},
	},
	{
		Name:                "Zimbra",
		ID:                  []string{"name=zimbra"},
		Greeting:            []string{"zimbra imap4rev1 server"},
		KeywordsAfterAppend: true,
		Advice: []string{
			"A mountpoint that is broken, or a shared folder that is locked, makes it list nothing or close the connection: remove it in the web mailer.",
		},
		Sources: []Source{
			{"KeywordsAfterAppend Advice", "https://imapsync.lamiral.info/FAQ.d/FAQ.Zimbra.txt", "2026-11"},
		},
	},
}
