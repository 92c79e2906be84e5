package imapstore

import "postbag/internal/mail"

// providerRows are ordered by name.
var providerRows = []Quirk{
	{
		Name:  "Amazon WorkMail",
		Hosts: []string{"awsapps.com"},
		Presets: []Preset{
			{Name: "workmail-us-east-1", Server: "imaps://imap.mail.us-east-1.awsapps.com"},
			{Name: "workmail-us-west-2", Server: "imaps://imap.mail.us-west-2.awsapps.com"},
			{Name: "workmail-eu-west-1", Server: "imaps://imap.mail.eu-west-1.awsapps.com"},
		},
		Login: "WorkMail wants the whole mail address and the ordinary password, at the server of the mailbox's region",
		Advice: []string{
			"WorkMail ends on 31 March 2027: take the mail out before.",
		},
		Sources: []Source{
			{"Presets Login", "https://docs.aws.amazon.com/workmail/latest/userguide/using_IMAP.html", "2026-11"},
			{"Advice", "https://docs.aws.amazon.com/workmail/latest/adminguide/workmail-end-of-support.html", "2026-11"},
		},
	},
	{
		Name:    "Fastmail",
		Hosts:   []string{"fastmail.com"},
		Presets: []Preset{{Name: "fastmail", Server: "imaps://imap.fastmail.com", Domains: []string{"fastmail.com"}}},
		Login:   "Fastmail wants an app password: Settings, Privacy & Security, Manage app passwords",
		Advice: []string{
			"The same message many times over is refused at some point ([LIMIT] Too many identical emails): the others are copied.",
		},
		Sources: []Source{
			{"Presets", "https://www.fastmail.com/help/technical/servernamesandports.html", "2026-11"},
			{"Login", "https://fastmail.help/hc/en-us/articles/1500000279921", "2026-11"},
			{"Advice", "https://github.com/OfflineIMAP/offlineimap3/issues/140", "2026-11"},
		},
	},
	{
		Name:           "Gmail",
		Hosts:          []string{"imap.gmail.com", "imap.googlemail.com"},
		Caps:           []string{"X-GM-EXT-1"},
		MaxConnections: 8, // 15 for all clients of the account
		// \Deleted on APPEND puts the message into the bin.
		StoreAfterAppend: mail.Deleted,
		ShowsAtMost:      []uint32{1000, 2000, 5000, 10000},
		DayUp:            500 << 20,
		DayDown:          2500 << 20,
		BadInNames:       "^",
		NoEdgeSpaces:     true,
		NoDoubleSpaces:   true,
		Presets:          []Preset{{Name: "gmail", Server: "imaps://imap.gmail.com", Domains: []string{"gmail.com", "googlemail.com"}}},
		Login:            "Gmail wants an app password (https://myaccount.google.com/apppasswords, with 2-step verification on), or OAuth: --auth xoauth2",
		Advice: []string{
			"Settings, Forwarding and POP/IMAP: a limit of the messages in an IMAP folder hides the others, so choose none. Chats and categories are not there over IMAP.",
			"Each label is a mailbox, and All Mail holds every message once more: each is fetched once, and All Mail shows what has no label (--gmail plain: everything).",
		},
		Sources: []Source{
			{"MaxConnections", "https://support.google.com/mail/answer/7126229", "2026-11"},
			{"DayUp DayDown", "https://support.google.com/a/answer/1071518", "2026-11"},
			{"StoreAfterAppend BadInNames NoEdgeSpaces NoDoubleSpaces", "https://imapsync.lamiral.info/FAQ.d/FAQ.Gmail.txt", "2026-11"},
			{"ShowsAtMost Advice", "https://developers.google.com/gmail/api/reference/rest/v1/ImapSettings", "2026-11"},
			{"Presets", "https://developers.google.com/workspace/gmail/imap/imap-smtp", "2026-11"},
			{"Login", "https://support.google.com/accounts/answer/185833", "2026-11"},
		},
	},
	{
		Name:  "GMX and WEB.DE",
		Hosts: []string{"imap.gmx.net", "imap.gmx.com", "imap.web.de"},
		Presets: []Preset{
			{Name: "gmx", Server: "imaps://imap.gmx.net", Domains: []string{"gmx.net", "gmx.de", "gmx.at", "gmx.ch", "gmx.org", "gmx.eu"}},
			{Name: "web.de", Server: "imaps://imap.web.de", Domains: []string{"web.de", "email.de"}},
		},
		Login: "GMX and WEB.DE want IMAP switched on: Settings of the web mailer, POP3 & IMAP",
		Advice: []string{
			"A free account may hold no more than 20 folders, those in the bin among them: --under and --map need fewer.",
		},
		Sources: []Source{
			{"Presets Advice", "https://github.com/deltachat/provider-db/blob/master/_providers/gmx.net.md", "2026-11"},
			{"Presets", "https://github.com/deltachat/provider-db/blob/master/_providers/web.de.md", "2026-11"},
			{"Login", "https://support.gmx.com/pop-imap/toggle.html", "2026-11"},
		},
	},
	{
		Name:    "GoDaddy",
		Hosts:   []string{"secureserver.net"},
		Presets: []Preset{{Name: "godaddy", Server: "imaps://imap.secureserver.net"}},
		Login:   "this is the server of GoDaddy's own mail; a mailbox of Microsoft 365 that GoDaddy sold has the short name microsoft365",
		Sources: []Source{
			{"Presets", "https://imapsync.lamiral.info/FAQ.d/FAQ.GoDaddy.txt", "2026-11"},
			{"Login", "https://imapsync.lamiral.info/FAQ.d/FAQ.Exchange.txt", "2026-11"},
		},
	},
	{
		Name:    "iCloud",
		Hosts:   []string{"imap.mail.me.com", "imap.mail.icloud.com", "mail.me.com", "mail.icloud.com"},
		Deny:    []string{"QRESYNC"}, // with it, messages are told as gone that are there
		Presets: []Preset{{Name: "icloud", Server: "imaps://imap.mail.me.com", Domains: []string{"icloud.com", "me.com", "mac.com"}}},
		Login:   "iCloud wants an app-specific password (https://support.apple.com/kb/HT204397); the user is the part before the @, or the whole address",
		Advice: []string{
			"\"Service temporarily unavailable\" for single messages passes: the next run fetches them.",
		},
		Sources: []Source{
			{"Deny", "https://github.com/Foundry376/Mailspring-Sync/pull/91", "2026-11"},
			{"Presets Login", "https://support.apple.com/en-us/HT202304", "2026-11"},
			{"Advice", "https://github.com/s1t5/mail-archiver/issues/414", "2026-11"},
		},
	},
	{
		Name:    "mail.ru",
		Hosts:   []string{"imap.mail.ru"},
		Presets: []Preset{{Name: "mail.ru", Server: "imaps://imap.mail.ru", Domains: []string{"mail.ru", "inbox.ru", "internet.ru", "bk.ru", "list.ru"}}},
		Login:   "mail.ru wants a password for external applications: https://account.mail.ru/user/2-step-auth/passwords",
		Sources: []Source{
			{"Presets", "https://github.com/deltachat/provider-db/blob/master/_providers/mail.ru.md", "2026-11"},
			{"Login", "https://github.com/deltachat/provider-db/blob/master/_providers/vk.com.md", "2026-11"},
		},
	},
	{
		Name:           "Microsoft 365",
		Hosts:          []string{"outlook.office365.com", "outlook.office.com"},
		MaxConnections: 2, // it throttles
		AppendLimit:    150 << 20,
		BadNames:       []string{"files"},
		Presets:        []Preset{{Name: "microsoft365", Server: "imaps://outlook.office365.com"}},
		Login:          "Microsoft 365 takes no passwords: give a token with --auth xoauth2; IMAP may be off for this mailbox; a shared one is user@example.com\\shared@example.com",
		Advice: []string{
			"Messages above the mailbox's limit (35 or 45 MB, up to 150 MB when the administrator raises it) are refused.",
			"It throttles by messages: --limit-messages 1 and --connections 1 may be faster in the end.",
			"The administrator of the tenant cannot use IMAP: take another user.",
		},
		Sources: []Source{
			{"MaxConnections AppendLimit BadNames Presets Login Advice", "https://imapsync.lamiral.info/FAQ.d/FAQ.Office365.txt", "2026-11"},
			{"Login", "https://docs.microsoft.com/en-us/exchange/clients-and-mobile-in-exchange-online/pop3-and-imap4/enable-or-disable-pop3-or-imap4-access", "2026-11"},
		},
	},
	{
		Name:           "Outlook.com",
		Hosts:          []string{"outlook.com", "imap-mail.outlook.com", "hotmail.com"},
		MaxConnections: 2, // it throttles as Microsoft 365 does
		Presets:        []Preset{{Name: "outlook", Server: "imaps://outlook.office365.com", Domains: []string{"outlook.com", "hotmail.com"}}},
		Login:          "Outlook.com wants OAuth (--auth xoauth2), and IMAP switched on: Settings, Mail, Forwarding and IMAP",
		Sources: []Source{
			{"Presets Login", "https://support.microsoft.com/en-us/office/pop-imap-and-smtp-settings-8361e398-8af4-4e97-b147-6c6c4ac95353", "2026-11"},
			{"MaxConnections", "https://imapsync.lamiral.info/FAQ.d/FAQ.Office365.txt", "2026-11"},
		},
	},
	{
		Name:     "Proton Mail Bridge",
		ID:       []string{"name=proton mail bridge"},
		Greeting: []string{"gluon session id"},
		Presets:  []Preset{{Name: "proton", Server: "imap://127.0.0.1:1143", Domains: []string{"proton.me", "protonmail.com", "protonmail.ch", "pm.me"}}},
		Login:    "Proton Mail Bridge wants its own password, which it shows under Mailbox details, and the Bridge has to be running",
		Advice: []string{
			"Its certificate is made on this machine: accept it with --tls-pin, as the first error shows it.",
			"All Mail holds every message once more, and Labels/... those of Folders/... and INBOX: --mailbox '!All Mail' leaves the view out.",
			"An update may number all messages anew: the next run pairs them by their content and fetches nothing again.",
		},
		Sources: []Source{
			{"Presets Login", "https://proton.me/support/protonmail-bridge-faq", "2026-11"},
			{"Advice", "https://github.com/ProtonMail/proton-bridge/issues/220", "2026-11"},
			{"Advice", "https://imapsync.lamiral.info/FAQ.d/FAQ.ProtonMail.txt", "2026-11"},
		},
	},
	{
		Name:    "Purelymail",
		Hosts:   []string{"imap.purelymail.com"},
		Presets: []Preset{{Name: "purelymail", Server: "imaps://imap.purelymail.com", Domains: []string{"purelymail.com"}}},
		Advice: []string{
			"There is a limit of bytes per account, after which a message takes a minute: a first backup may take days, or ask their support to lift it.",
		},
		Sources: []Source{
			{"Presets", "https://github.com/deltachat/provider-db/blob/master/_providers/purelymail.com.md", "2026-11"},
			{"Advice", "https://github.com/Purelymail/purelymail-issues/issues/269", "2026-11"},
		},
	},
	{
		Name:     "QQ Mail",
		Hosts:    []string{"imap.qq.com", "imap.exmail.qq.com"},
		Greeting: []string{"qqmail imap4server"},
		NoSearch: true,
		Presets: []Preset{
			{Name: "qq", Server: "imaps://imap.qq.com", Domains: []string{"qq.com", "foxmail.com"}},
			{Name: "exmail", Server: "imaps://imap.exmail.qq.com"},
		},
		Login: "QQ Mail wants an authorization code of 16 letters, made where IMAP is switched on: Settings, Account, POP3/IMAP/SMTP",
		Sources: []Source{
			{"NoSearch", "imapsync, FAQ.d/FAQ.Various_Server_Softwares.txt", "2026-11"},
			{"Presets Login", "https://www.topmailsender.com/en/youxiang/106-tengxun-qqyouxiang-tencent-personal-email", "2026-11"},
			{"Presets", "https://github.com/deltachat/provider-db/blob/master/_providers/qq.md", "2026-11"},
		},
	},
	{
		Name:             "Yahoo and AOL",
		Hosts:            []string{"mail.yahoo.com", "mail.yahoo.co.jp", "imap.yahoo.com", "imap.aol.com", "mail.aol.com"},
		Caps:             []string{"XYMHIGHESTMODSEQ"},
		MaxConnections:   2,
		StoreAfterAppend: mail.Deleted, // APPEND with it is refused
		ShowsAtMost:      []uint32{10000, 100000},
		FinalCRLF:        true,
		Presets: []Preset{
			{Name: "yahoo", Server: "imaps://imap.mail.yahoo.com", Domains: []string{"yahoo.com", "yahoo.de", "yahoo.fr", "yahoo.it", "yahoo.es", "yahoo.co.uk", "ymail.com", "rocketmail.com"}},
			{Name: "yahoo-export", Server: "imaps://export.imap.mail.yahoo.com"},
			{Name: "aol", Server: "imaps://imap.aol.com", Domains: []string{"aol.com"}},
			{Name: "aol-export", Server: "imaps://export.imap.aol.com"},
		},
		Login: "Yahoo and AOL want an app password: https://login.yahoo.com/account/security or https://login.aol.com/account/security",
		Advice: []string{
			"Of a mailbox only the newest 10,000 messages are shown. A backup is better taken from yahoo-export: or aol-export:, which show 100,000.",
		},
		Sources: []Source{
			{"MaxConnections", "https://github.com/postalsys/imapflow/issues/75", "2026-11"},
			{"StoreAfterAppend", "https://github.com/imapsync/imapsync/issues/420", "2026-11"},
			{"ShowsAtMost FinalCRLF Presets Advice", "https://imapsync.lamiral.info/FAQ.d/FAQ.Yahoo.txt", "2026-11"},
			{"ShowsAtMost", "https://senders.yahooinc.com/developer/documentation", "2026-11"},
			{"Presets Login", "https://github.com/deltachat/provider-db/blob/master/_providers/aol.md", "2026-11"},
		},
	},
	{
		Name:     "Yandex",
		Hosts:    []string{"imap.yandex.ru", "imap.yandex.com"},
		Greeting: []string{"yandex imap4rev1"},
		NoSearch: true,
		Presets:  []Preset{{Name: "yandex", Server: "imaps://imap.yandex.com", Domains: []string{"yandex.com", "yandex.ru"}}},
		Login:    "Yandex wants an app password for mail, and IMAP switched on: https://yandex.com/support/mail/mail-clients.html",
		Sources: []Source{
			{"NoSearch", "https://imapsync.lamiral.info/FAQ.d/FAQ.Yandex.txt", "2026-11"},
			{"Presets", "https://tech.yandex.com/oauth/doc/imap/index-docpage/", "2026-11"},
			{"Login", "https://yandex.com/support/passport/authorization/app-passwords.html", "2026-11"},
		},
	},
	{
		Name:  "Zoho",
		Hosts: []string{"imap.zoho.com", "imappro.zoho.com", "imap.zoho.eu", "imappro.zoho.eu", "imap.zoho.in", "imappro.zoho.in"},
		Presets: []Preset{
			{Name: "zoho", Server: "imaps://imap.zoho.com", Domains: []string{"zoho.com"}},
			{Name: "zoho-pro", Server: "imaps://imappro.zoho.com"},
			{Name: "zoho-eu", Server: "imaps://imap.zoho.eu", Domains: []string{"zohomail.eu"}},
		},
		Login: "Zoho wants IMAP switched on (Settings, Mail Accounts, IMAP), and with two-factor login an application-specific password; addresses of an organization are at zoho-pro:",
		Advice: []string{
			"Only the folders that are chosen in Zoho's settings (Mail Accounts, IMAP, folder settings) are there, and archived mail only when it is included there.",
		},
		Sources: []Source{
			{"Presets Login Advice", "https://www.zoho.com/mail/help/imap-access.html", "2026-11"},
		},
	},
}
