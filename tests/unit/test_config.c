// SPDX-License-Identifier: BSD-2-Clause
//
// The config parser: what good files mean, and every message with its position.
#include "tests/unit/config_messages.h"

struct mistake {
    const char *text;
    const char *message;
};

static void assert_mistakes(const struct mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(parse(mistakes[i].text), 0);
        assert_messages(mistakes[i].message);
    }
}

#define ASSERT_MISTAKES(table) assert_mistakes(table, sizeof(table) / sizeof((table)[0]))

static void test_all_keys(void **state)
{
    (void)state;
    assert_int_equal(parse("# all keys\n"
                           "[system]\n"
                           "log     = debug\n"
                           "share = 20%\nperiod = 2ms\n"
                           "\n"
                           "[vm web]\n"
                           "image   = a/vmlinuz   # a file beside this one\n"
                           "initrd  = initrd.img\n"
                           "cmdline = console=ttyS0 quiet=a#b\n"
                           "memory  = 256M\n"
                           "vcpus   = 1\n"
                           "cores   = 1 2, 0\n"
                           "share   = 50%\n"
                           "period  = 1ms\n"
                           "restart = always\nrestart-limit = 32 per 7d\n"
                           "autostart = no\nticks = catch-up\nhpet = yes\n"
                           "testdev = yes\nwatchdog = 2m\n"), 0);
    assert_messages("");
    assert_int_equal(config.log, CONFIG_LOG_DEBUG);
    assert_int_equal(config.n_vms, 1);
    const struct config_vm *vm = &config.vms[0];
    assert_string_equal(vm->name, "web");
    assert_string_equal(vm->image, "a/vmlinuz");
    assert_string_equal(vm->initrd, "initrd.img");
    assert_string_equal(vm->cmdline, "console=ttyS0 quiet=a#b");
    assert_true(vm->memory == 256 * MB);
    assert_int_equal(vm->vcpus, 1);
    assert_int_equal(vm->n_cores, 3);
    assert_int_equal(vm->cores[0], 1);
    assert_int_equal(vm->cores[1], 2);
    assert_int_equal(vm->cores[2], 0);
    assert_int_equal(vm->share, 50);
    assert_int_equal(vm->period_us, 1000);
    assert_int_equal(config.system_share, 20);
    assert_int_equal(config.system_period_us, 2000);
    assert_int_equal(vm->restart, CONFIG_RESTART_ALWAYS);
    assert_int_equal(vm->restarts, 32);
    assert_int_equal(vm->restart_window_s, 7 * 86400);
    assert_false(vm->autostart);
    assert_true(vm->testdev && vm->hpet && vm->watchdog);
    assert_int_equal(vm->watchdog_s, 120);
    assert_true(vm->catch_up);
    assert_false(vm->bad);
    assert_int_equal(vm->pos.line, 7);
    assert_int_equal(vm->value_pos[CONFIG_KEY_MEMORY].line, 11);
    assert_int_equal(vm->value_pos[CONFIG_KEY_MEMORY].column, 11);
    assert_string_equal(config_module_name(vm->image), "vmlinuz");
}

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(parse("[vm a]\nimage=x"), 0);
    const struct config_vm *vm = &config.vms[0];
    assert_false(vm->testdev || vm->hpet || vm->watchdog);
    assert_int_equal(vm->restart, CONFIG_RESTART_NEVER);
    assert_int_equal(vm->restarts, 5);
    assert_int_equal(vm->restart_window_s, 600);
    assert_true(vm->autostart);
    assert_int_equal(config.log, CONFIG_LOG_INFO);
    assert_true(vm->memory == CONFIG_MEMORY_DEFAULT);
    assert_int_equal(vm->vcpus, 1);
    assert_int_equal(vm->n_cores, 0);
    assert_int_equal(vm->share, 0);
    assert_int_equal(vm->period_us, 10000);
    assert_int_equal(config.system_share, 10);
    assert_int_equal(config.system_period_us, 1000);
    assert_int_equal(vm->core, -1);
    assert_string_equal(vm->initrd, "");
    assert_string_equal(vm->cmdline, "");
}

static void test_console(void **state)
{
    (void)state;
    static const struct { const char *text; struct config_console want; } good[] = {
        {"com1", {CONFIG_CONSOLE_PORT, 0x3f8, 115200}},
        {"com2,38400", {CONFIG_CONSOLE_PORT, 0x2f8, 38400}},
        {"com3, 50", {CONFIG_CONSOLE_PORT, 0x3e8, 50}},
        {"com4", {CONFIG_CONSOLE_PORT, 0x2e8, 115200}},
        {"pci", {CONFIG_CONSOLE_PCI, 0, 115200}},
        {"pci,9600", {CONFIG_CONSOLE_PCI, 0, 9600}},
        {"none", {CONFIG_CONSOLE_NONE, 0, 115200}},
        {"0x3f8,115200", {CONFIG_CONSOLE_PORT, 0x3f8, 115200}},
        {"0xFFF8", {CONFIG_CONSOLE_PORT, 0xfff8, 115200}},
    };
    parse("[vm a]\nimage=x");
    assert_int_equal(config.console.kind, CONFIG_CONSOLE_PORT);
    assert_int_equal(config.console.port, 0x3f8);
    assert_int_equal(config.console.baud, 115200);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char text[80];
        snprintf(text, sizeof(text), "[system]\nconsole = %s\n[vm a]\nimage=x", good[i].text);
        assert_int_equal(parse(text), 0);
        assert_int_equal(config.console.kind, good[i].want.kind);
        assert_int_equal(config.console.port, good[i].want.port);
        assert_int_equal(config.console.baud, good[i].want.baud);
    }
}

static void test_lines(void **state)
{
    (void)state;
    // CRLF, blanks around everything, comments everywhere, a byte order mark, an empty value.
    assert_int_equal(parse("\xef\xbb\xbf[system] # c\r\n\r\n"
                           "  log=quiet\r\n"
                           "\t[ vm  a-B_1 ]\t# c\r\n"
                           "# c = \x01\r\n"
                           "image\t=\tf # \"c\r\n"
                           "cmdline = # nothing\r\n"
                           "[system]\r\n"
                           "[vm b]\r\n"
                           "memory = 4m\r\n"
                           "share = 100 %\r\n"
                           "image = \xc3\xa4\r"), 1);
    assert_messages("t.conf:12:11: control character (0x0d): is this a text file?");
    assert_int_equal(config.log, CONFIG_LOG_QUIET);
    assert_string_equal(config.vms[0].name, "a-B_1");
    assert_string_equal(config.vms[0].image, "f");
    assert_string_equal(config.vms[0].cmdline, "");
    assert_true(config.vms[1].memory == 4 * MB);
    assert_int_equal(config.vms[1].share, 100);
    assert_false(config.vms[0].bad);
    assert_true(config.vms[1].bad);
    assert_int_equal(config_good_vms(&config), 1);
}

static void test_quotes(void **state)
{
    (void)state;
    assert_int_equal(parse("[vm a]\n"
                           "image = \"my # image\"# no comment"), 1);
    assert_messages("t.conf:2:21: text after the closing quote");
    assert_int_equal(parse("[vm a]\n"
                           "image = \"my # image\" # comment\n"
                           "cmdline = \"  a=\\\"b c\\\" d\\\\e # f \"\n"), 0);
    assert_string_equal(config.vms[0].image, "my # image");
    assert_string_equal(config.vms[0].cmdline, "  a=\"b c\" d\\e # f ");
    // Quotes inside a plain value are the guest's.
    assert_int_equal(parse("[vm a]\nimage=x\ncmdline = dyndbg=\"file a +p\" \\x\n"), 0);
    assert_string_equal(config.vms[0].cmdline, "dyndbg=\"file a +p\" \\x");
    static const struct mistake table[] = {
        {"[vm a]\nimage = \"x\n", "t.conf:2:9: quote is not closed on this line"},
        {"[vm a]\nimage = \"x\\",
         "t.conf:2:11: in quotes a backslash stands only before \" and \\"},
        {"[vm a]\nimage = \"\\n\"",
         "t.conf:2:10: in quotes a backslash stands only before \" and \\"},
        {"[vm a]\nimage = \"x\" y", "t.conf:2:13: text after the closing quote"},
        {"[vm a]\nimage = \"x\x01\"",
         "t.conf:2:11: control character (0x01): is this a text file?"},
        {"[vm a]\nimage = \"\"", "t.conf:2:1: key 'image' has no value"},
    };
    ASSERT_MISTAKES(table);
}

static void test_sections(void **state)
{
    static const struct mistake table[] = {
        {"memory = 1M\n[vm a]\nimage=x",
         "t.conf:1:1: key before the first section: [vm NAME] comes first"},
        {"[vm a]\nimage=x\n[sytem]\nfoo",
         "t.conf:3:1: unknown section [sytem] (did you mean 'system'?)"},
        {"[vm a]\nimage=x\n[vms b]", "t.conf:3:1: unknown section [vms b] (did you mean 'vm'?)"},
        {"[vm a]\nimage=x\n[]", "t.conf:3:1: unknown section []"},
        {"[vm a]\nimage=x\n[network eth0]", "t.conf:3:1: unknown section [network eth0]"},
        {"[vm a]\nimage=x\n[system x]", "t.conf:3:1: [system] has no name"},
        {"[vm a]\nimage=x\n  [system", "t.conf:3:3: section header without ]"},
        {"[vm a]\nimage=x\n[system] log = info",
         "t.conf:3:9: text after the section header: a key goes on a line of its own"},
        {"[vm a]\nimage=x\n[system]#c",
         "t.conf:3:9: text after the section header: a key goes on a line of its own"},
        {"[vm a]\nimage=x\n[vm \x02]",
         "t.conf:3:5: control character (0x02): is this a text file?"},
        {"[vm a]\nimage=x\n[ vm ]\nmemory = 0",
         "t.conf:3:1: VM without a name: write [vm NAME]"},
        {"[vm a]\nimage=x\n[vm b c]",
         "t.conf:3:6: bad VM name 'b c': letters, digits, _ and - make a name"},
        {"[vm a]\nimage=x\n[vm 42]",
         "t.conf:3:5: VM name '42' has digits only: these select a console; add a letter"},
        {"[vm a]\nimage=x\n[vm abcdefghijklmnop]",
         "t.conf:3:5: VM name 'abcdefghijklmnop' is longer than 15 characters"},
        {"[vm a]\nimage=x\n[vm b]\nimage=x\n[vm a]\nimage=y",
         "t.conf:5:5: VM 'a' again (first defined at line 1)"},
        {"[vm a]\nimage=x\n[system]\nlog=info\n[system]\nlog=info",
         "t.conf:6:1: key 'log' again in [system] (first defined at line 4)"},
        {"[vm a]\nimage=x\n[vm bulkhead]\nimage=x",
         "t.conf:3:5: VM name 'bulkhead' is the manager's own: choose another"},
        // Keys of a section that is no VM are checked like any other's.
        {"[vm a]\nimage=x\n[vm a]\nmemory=1",
         "t.conf:3:5: VM 'a' again (first defined at line 1)\n"
         "t.conf:4:8: memory = 1 is too little: at least 4M; a number alone means bytes"},
    };

    (void)state;
    assert_int_equal(parse("[vm abcdefghijklmno]\nimage=x"), 0);
    ASSERT_MISTAKES(table);
    // The VM before the mistake is good.
    assert_int_equal(config.n_vms, 1);
    assert_false(config.vms[0].bad);
    assert_string_equal(config.vms[0].image, "x");
}

static void test_keys(void **state)
{
    static const struct mistake table[] = {
        {"[vm web]\nimage=x\nmemroy = 1M",
         "t.conf:3:1: unknown key 'memroy' in [vm web] (did you mean 'memory'?)"},
        {"[vm web]\nimage=x\nmem=1M",
         "t.conf:3:1: unknown key 'mem' in [vm web] (did you mean 'memory'?)"},
        {"[vm web]\nimage=x\n  Cores=1",
         "t.conf:3:3: unknown key 'Cores' in [vm web] (did you mean 'cores'?)"},
        {"[vm web]\nimage=x\nfoo=1", "t.conf:3:1: unknown key 'foo' in [vm web]"},
        {"[vm web]\nimage=x\nabcdefghijklmnopqrstuvwxyz=1",
         "t.conf:3:1: unknown key 'abcdefghijklmnopqrstuvwxyz' in [vm web]"},
        {"[vm web]\nimage=x\nlog=info",
         "t.conf:3:1: key 'log' does not belong in [vm web] but in [system]"},
        {"[vm web]\nimage=x\n[system]\nmemory=1M",
         "t.conf:4:1: key 'memory' does not belong in [system] but in a [vm NAME] section"},
        {"[vm web]\nimage=x\n[system]\nlogs=info",
         "t.conf:4:1: unknown key 'logs' in [system] (did you mean 'log'?)"},
        {"[vm web]\nimage=x\n=1", "t.conf:3:1: no key before the equals sign"},
        {"[vm web]\nimage=x\nmemory =", "t.conf:3:1: key 'memory' has no value"},
        {"[vm web]\nimage=x\nmemory 1M",
         "t.conf:3:1: expected 'key = value' or a section header, found 'memory 1M'"},
        {"[vm web]\nimage=x\nimage=x",
         "t.conf:3:1: key 'image' again in [vm web] (first defined at line 2)"},
        {"[vm web]\n", "t.conf:1:1: VM 'web' has no image: add image = FILE"},
        {"[vm web]\nimage=d/", "t.conf:2:7: image 'd/' names a folder, not a file"},
        {"[vm web]\nimage=x\ninitrd=..", "t.conf:3:8: initrd '..' names a folder, not a file"},
        {"[vm web]\nimage=x\nrestart-limit = 33 per 1m",
         "t.conf:3:17: restart-limit = 33 per 1m is not like '5 per 10m': 1 to 32 restarts in "
         "1s to 7d (s, m, h, d)"},
        {"[vm web]\nimage=x\nticks = slew",
         "t.conf:3:9: unknown policy 'slew' for ticks: coalesce or catch-up"},
        {"[vm web]\nimage=x\nhpet = on", "t.conf:3:8: hpet = on is neither yes nor no"},
        {"[vm web]\nimage=x\ntestdev = 1", "t.conf:3:11: testdev = 1 is neither yes nor no"},
        {"[vm web]\nimage=x\nbench = yes", "t.conf:3:1: unknown key 'bench' in [vm web]"},
        {"[vm web]\nimage=x\nrestart = no",
         "t.conf:3:11: unknown restart policy 'no': never, on-failure or always"},
        {"[vm web]\nimage=x\nautostart = 0", "t.conf:3:13: autostart = 0 is neither yes nor no"},
        {"[vm web]\nimage=x\n[system]\nlog = loud",
         "t.conf:4:7: unknown log level 'loud': quiet, info or debug"},
        {"[vm web]\nimage=x\n[system]\nconsole = com5",
         "t.conf:4:11: unknown console 'com5': com1, com2, com3, com4, pci, none, or the first "
         "I/O port of a 16550, such as 0x3f8"},
        {"[vm web]\nimage=x\n[system]\nconsole = 0x3g8,9600",
         "t.conf:4:11: unknown console '0x3g8': com1, com2, com3, com4, pci, none, or the first "
         "I/O port of a 16550, such as 0x3f8"},
        {"[vm web]\nimage=x\n[system]\nconsole = ,9600",
         "t.conf:4:11: unknown console '': com1, com2, com3, com4, pci, none, or the first I/O "
         "port of a 16550, such as 0x3f8"},
        {"[vm web]\nimage=x\n[system]\nconsole = 0x3fc",
         "t.conf:4:11: console = 0x3fc: a 16550 has eight I/O ports, the first a multiple of 8 "
         "from 0x100 to 0xfff8, not 0xcf8"},
        {"[vm web]\nimage=x\n[system]\nconsole = 0xcf8",
         "t.conf:4:11: console = 0xcf8: a 16550 has eight I/O ports, the first a multiple of 8 "
         "from 0x100 to 0xfff8, not 0xcf8"},
        {"[vm web]\nimage=x\n[system]\nconsole = com2,56000",
         "t.conf:4:16: bad speed '56000' of the console's port: 115200 or a part of it, such as "
         "38400 or 9600"},
        {"[vm web]\nimage=x\n[system]\nconsole = com2,",
         "t.conf:4:16: bad speed '' of the console's port: 115200 or a part of it, such as 38400 "
         "or 9600"},
        {"[vm web]\nimage=x\n[system]\nconsole = none,9600",
         "t.conf:4:11: console = none has no speed"},
        {"[vm web]\nimage=x\nconsole = com2",
         "t.conf:3:1: key 'console' does not belong in [vm web] but in [system]"},
    };

    (void)state;
    ASSERT_MISTAKES(table);
}

static void test_numbers(void **state)
{
    static const struct mistake table[] = {
        {"[vm a]\nimage=x\nmemory=4092K", "t.conf:3:8: memory = 4092K is too little: at least 4M"},
        {"[vm a]\nimage=x\nmemory=256",
         "t.conf:3:8: memory = 256 is too little: at least 4M; a number alone means bytes"},
        {"[vm a]\nimage=x\nmemory=0", "t.conf:3:8: memory = 0 is too little: at least 4M"},
        {"[vm a]\nimage=x\nmemory=4097K", "t.conf:3:8: memory = 4097K is not a multiple of 4K"},
        {"[vm a]\nimage=x\nmemory=-1M",
         "t.conf:3:8: bad size '-1M': write digits and K, M or G, such as 256M"},
        {"[vm a]\nimage=x\nmemory=M",
         "t.conf:3:8: bad size 'M': write digits and K, M or G, such as 256M"},
        {"[vm a]\nimage=x\nmemory=256MB",
         "t.conf:3:8: bad size '256MB': write digits and K, M or G, such as 256M"},
        {"[vm a]\nimage=x\nmemory=0x10M",
         "t.conf:3:8: bad size '0x10M': write digits and K, M or G, such as 256M"},
        {"[vm a]\nimage=x\nmemory=65537G",
         "t.conf:3:8: memory = 65537G is too much: at most 512G"},
        {"[vm a]\nimage=x\nmemory=99999999999999999999999999",
         "t.conf:3:8: memory = 99999999999999999999999999 is too much: at most 512G"},
        {"[vm a]\nimage=x\nvcpus=0", "t.conf:3:7: vcpus = 0: a VM needs at least one"},
        {"[vm a]\nimage=x\nvcpus=17",
         "t.conf:3:7: vcpus = 17 is too many: a VM has at most 16"},
        {"[vm a]\nimage=x\nvcpus=18446744073709551617",
         "t.conf:3:7: vcpus = 18446744073709551617 is too many: a VM has at most 16"},
        {"[vm a]\nimage=x\nvcpus=one", "t.conf:3:7: bad number 'one' for vcpus"},
        {"[vm a]\nimage=x\ncores=0 x",
         "t.conf:3:9: bad core number 'x': cores is a list of numbers, such as 0 1"},
        {"[vm a]\nimage=x\ncores=0-3 y",
         "t.conf:3:7: bad core number '0-3': cores is a list of numbers, such as 0 1"},
        {"[vm a]\nimage=x\ncores=0,1,64",
         "t.conf:3:11: core 64 is too large: cores are numbered 0 to 63"},
        {"[vm a]\nimage=x\ncores=0 1 0", "t.conf:3:11: core 0 is listed twice"},
        {"[vm a]\nimage=x\ncores=,", "t.conf:3:7: cores lists no core"},
        {"[vm a]\nimage=x\nshare=0%", "t.conf:3:7: share = 0% is not from 1% to 100%"},
        {"[vm a]\nimage=x\nshare=101", "t.conf:3:7: share = 101 is not from 1% to 100%"},
        {"[vm a]\nimage=x\nshare=99999999999999999999%",
         "t.conf:3:7: share = 99999999999999999999% is not from 1% to 100%"},
        {"[vm a]\nimage=x\nshare=%",
         "t.conf:3:7: bad share '%': write a percentage, such as 25%"},
        {"[vm a]\nimage=x\nperiod=5ms\nshare=1%",
         "t.conf:3:8: unknown period '5ms': 1ms, 2ms or 10ms"},
        {"[system]\nperiod=10\n[vm a]\nimage=x",
         "t.conf:2:8: unknown period '10': 1ms, 2ms or 10ms"},
        {"[system]\nshare=0\n[vm a]\nimage=x", "t.conf:2:7: share = 0 is not from 1% to 100%"},
        {"[vm a]\nimage=x\nshare=half",
         "t.conf:3:7: bad share 'half': write a percentage, such as 25%"},
    };

    (void)state;
    ASSERT_MISTAKES(table);
    assert_int_equal(parse("[vm a]\nimage=x\nmemory=512G"), 0);
    assert_true(config.vms[0].memory == CONFIG_MEMORY_MAX);
    assert_int_equal(parse("[vm a]\nimage=x\nmemory=4194304"), 0);
    assert_true(config.vms[0].memory == 4 * MB);
}

// Appends a key with a value of `length` bytes to [vm a].
static uint32_t parse_long(const char *key, const char *quote, size_t length)
{
    char text[8192];
    int at = snprintf(text, sizeof(text), "[vm a]\n%s=%s", key, quote);

    memset(text + at, 'x', length);
    snprintf(text + at + length, sizeof(text) - (size_t)at - length, "%s\n", quote);
    return parse(text);
}

static void test_lengths(void **state)
{
    char text[8192];
    size_t at;

    (void)state;
    assert_int_equal(parse_long("image", "", CONFIG_PATH_MAX), 0);
    assert_int_equal(parse_long("image", "", CONFIG_PATH_MAX + 1), 1);
    assert_messages("t.conf:2:7: path of image is longer than 255 bytes");
    assert_int_equal(parse_long("cmdline", "", CONFIG_CMDLINE_MAX), 1);    // only: no image
    assert_int_equal(strlen(config.vms[0].cmdline), CONFIG_CMDLINE_MAX);
    assert_int_equal(parse_long("cmdline", "\"", CONFIG_CMDLINE_MAX), 1);
    assert_int_equal(strlen(config.vms[0].cmdline), CONFIG_CMDLINE_MAX);
    parse_long("cmdline", "", CONFIG_CMDLINE_MAX + 1);
    assert_messages("t.conf:2:9: value is longer than 2047 bytes\n"
                    "t.conf:1:1: VM 'a' has no image: add image = FILE");
    parse_long("cmdline", "\"", 5000);
    assert_messages("t.conf:2:10: value is longer than 2047 bytes\n"
                    "t.conf:1:1: VM 'a' has no image: add image = FILE");
    assert_string_equal(config.vms[0].cmdline, "");

    at = (size_t)snprintf(text, sizeof(text), "[vm a]\nimage=x\ncores=");
    for (unsigned core = 0; core < CONFIG_MAX_CORES; core++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%u ", core);
    assert_int_equal(parse(text), 0);
    assert_int_equal(config.vms[0].n_cores, CONFIG_MAX_CORES);

    at = 0;
    for (unsigned vm = 0; vm <= CONFIG_MAX_VMS; vm++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "[vm v%u]\nimage=x\n", vm);
    assert_int_equal(parse(text), 1);
    assert_messages("t.conf:129:5: VM 'v64' is one too many: at most 64");
    assert_int_equal(config.n_vms, CONFIG_MAX_VMS);
    assert_int_equal(config_good_vms(&config), CONFIG_MAX_VMS);
}

static void test_nothing(void **state)
{
    static const struct mistake table[] = {
        {"", "t.conf:1: the file is empty: add a [vm NAME] section with an image"},
        {"\xef\xbb\xbf", "t.conf:1: no VM is defined: add a [vm NAME] section with an image"},
        {"\n\n# nothing\n", "t.conf:3: no VM is defined: add a [vm NAME] section with an image"},
        {"[system]\nlog=info",
         "t.conf:2: no VM is defined: add a [vm NAME] section with an image"},
    };
    char *large = calloc(1, CONFIG_FILE_MAX + 1);

    (void)state;
    ASSERT_MISTAKES(table);
    assert_non_null(large);
    assert_int_equal(parse_bytes(large, CONFIG_FILE_MAX + 1), 1);
    assert_messages("t.conf: the file is larger than 16 MB");
    free(large);
}

static void test_noise(void **state)
{
    static char noise[1 << 20];
    uint32_t seed = 1;

    (void)state;
    assert_int_equal(parse_bytes("\0\0", 2), 2);
    assert_messages("t.conf:1:1: NUL byte (0x00): is this a text file?\n"
                    "t.conf:1: no VM is defined: add a [vm NAME] section with an image");

    for (size_t i = 0; i < sizeof(noise); i++) {
        seed = seed * 1664525 + 1013904223;
        noise[i] = (char)(seed >> 24);
    }
    uint32_t errors = parse_bytes(noise, sizeof(noise));
    char more[64];
    snprintf(more, sizeof(more), "t.conf: %u more mistakes not shown\n",
             (unsigned)errors - CONFIG_MAX_MESSAGES);
    assert_int_equal(n_messages, CONFIG_MAX_MESSAGES + 1);
    assert_non_null(strstr(messages, more));
    for (const char *c = messages; *c != '\0'; c++)
        assert_true((*c >= ' ' && *c < 0x7f) || *c == '\n');

    // One line of a megabyte, quoted in a message of a usual length.
    memset(noise, 'a', sizeof(noise));
    memcpy(noise, "[vm a]\nimage=x\n\x80", 16);
    assert_int_equal(parse_bytes(noise, sizeof(noise)), 1);
    assert_messages("t.conf:3:1: expected 'key = value' or a section header, found "
                    "'\\x80aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...'");

    // A good VM behind the noise is good.
    memset(noise, '\n', sizeof(noise));
    for (size_t i = 0; i < 100; i++)
        noise[2 * i] = '?';
    memcpy(noise + sizeof(noise) - 15, "[vm a]\nimage=x\n", 15);
    assert_int_equal(parse_bytes(noise, sizeof(noise)), 100);
    assert_non_null(strstr(messages, "t.conf: 80 more mistakes not shown\n"));
    assert_int_equal(config_good_vms(&config), 1);
}

static void test_one_more(void **state)
{
    char text[256] = "[vm a]\nimage=x\n[vm b]\n";

    (void)state;
    for (unsigned i = 0; i < CONFIG_MAX_MESSAGES; i++)
        strcat(text, "?\n");
    assert_int_equal(parse(text), CONFIG_MAX_MESSAGES + 1);
    assert_int_equal(n_messages, CONFIG_MAX_MESSAGES + 1);
    assert_non_null(strstr(messages, "t.conf: 1 more mistake not shown\n"));
    // The mistake that was not shown counts all the same.
    assert_true(config.vms[1].bad);
    assert_int_equal(config_good_vms(&config), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_console),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_sections),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_one_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
