// SPDX-License-Identifier: BSD-2-Clause
//
// The checks of a parsed config against a machine: every message, and where VMs are placed.
#include "tests/unit/config_messages.h"

// A host with a few files.
static uint8_t linux_head[1024], multiboot_head[CONFIG_IMAGE_HEAD + 16];

static void make_heads(void)
{
    memset(linux_head, 0, sizeof(linux_head));
    memcpy(linux_head + 0x202, "HdrS", 4);
    linux_head[0x1fe] = 0x55;
    linux_head[0x1ff] = 0xaa;
    linux_head[0x206] = 0x0f; // protocol 2.15
    linux_head[0x207] = 0x02;
    linux_head[0x211] = 1;    // loaded high
    memset(multiboot_head, 0, sizeof(multiboot_head));
    memcpy(multiboot_head, "\177ELF", 4);
}

// Header at `at`, flags 3.
static void put_multiboot(size_t at)
{
    static const uint8_t header[12] = {
        0x02, 0xb0, 0xad, 0x1b, 0x03, 0x00, 0x00, 0x00, 0xfb, 0x4f, 0x52, 0xe4,
    };

    memset(multiboot_head + 4, 0, sizeof(multiboot_head) - 4);
    memcpy(multiboot_head + at, header, sizeof(header));
}

static enum config_find find(void *ctx, const char *path, struct config_image *image)
{
    (void)ctx;
    const char *name = config_module_name(path);
    image->head = linux_head;
    image->head_size = sizeof(linux_head);
    image->size = sizeof(linux_head);
    if (strcmp(name, "linux") == 0 || strcmp(name, "initrd") == 0) {
        image->size = 3 * MB;
    } else if (strcmp(name, "hello") == 0 || strcmp(name, "elf") == 0) {
        put_multiboot(name[0] == 'h' ? 4096 : 4098);
        image->head = multiboot_head;
        image->head_size = CONFIG_IMAGE_HEAD;
        image->size = CONFIG_IMAGE_HEAD;
    } else if (strcmp(name, "text") == 0) {
        image->head = (const uint8_t *)"hi";
        image->head_size = image->size = 2;
    } else if (strcmp(name, "empty") == 0) {
        image->head_size = image->size = 0;
    } else if (strcmp(name, "locked") == 0) {
        image->problem = "Permission denied";
        return CONFIG_UNREADABLE;
    } else if (strcmp(name, "odd") == 0) {
        return CONFIG_UNREADABLE;
    } else if (strcmp(name, "huge") == 0) {
        image->size = UINT64_MAX;
    } else {
        return CONFIG_MISSING;
    }
    return CONFIG_FOUND;
}

static const struct config_host host = {
    .find = find,
    .looked_in = "among the boot modules",
    .memory = 64 * MB,
    .cores = 2,
};

// A parse without a mistake, then a check.
static uint32_t check_on(const struct config_host *machine, const char *text)
{
    make_heads();
    assert_int_equal(parse(text), 0);
    return config_check(&config, machine, &sink);
}

static void assert_check(const char *text, const char *expected)
{
    assert_int_equal(check_on(&host, text) != 0, expected[0] != '\0');
    assert_messages(expected);
}

static void test_formats(void **state)
{
    (void)state;
    make_heads();
    assert_int_equal(config_image_format(linux_head, 0x206), CONFIG_FORMAT_LINUX);
    assert_int_equal(config_image_format(linux_head, 0x205), CONFIG_FORMAT_UNKNOWN);
    linux_head[0x1ff] = 0;
    assert_int_equal(config_image_format(linux_head, 0x206), CONFIG_FORMAT_UNKNOWN);
    assert_int_equal(config_image_format(NULL, 0), CONFIG_FORMAT_UNKNOWN);
    for (size_t at = 64; at < 160; at++) { // behind the ELF header
        put_multiboot(at);
        assert_int_equal(config_image_format(multiboot_head, 8192),
                         at % 4 == 0 ? CONFIG_FORMAT_MULTIBOOT1 : CONFIG_FORMAT_UNKNOWN);
    }
    // The header ends within the first 8192 bytes, and within the file.
    put_multiboot(8180);
    assert_int_equal(config_image_format(multiboot_head, 8192), CONFIG_FORMAT_MULTIBOOT1);
    assert_int_equal(config_image_format(multiboot_head, 8191), CONFIG_FORMAT_UNKNOWN);
    put_multiboot(8184);
    assert_int_equal(config_image_format(multiboot_head, 8208), CONFIG_FORMAT_UNKNOWN);
    put_multiboot(64);
    multiboot_head[72] ^= 1;
    assert_int_equal(config_image_format(multiboot_head, 8192), CONFIG_FORMAT_UNKNOWN);
    put_multiboot(64);
    multiboot_head[0] = 0;
    assert_int_equal(config_image_format(multiboot_head, 8192), CONFIG_FORMAT_UNKNOWN);
}

static void test_check_files(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=linux\ninitrd=initrd\nmemory=7M\n[vm b]\nimage=hello\nmemory=8M",
                 "");
    assert_int_equal(config.vms[0].format, CONFIG_FORMAT_LINUX);
    assert_int_equal(config.vms[1].format, CONFIG_FORMAT_MULTIBOOT1);
    assert_check("[vm a]\nimage=none\nmemory=8M\n[vm b]\nimage=hello\nmemory=8M",
                 "t.conf:2:7: image 'none' not found among the boot modules");
    assert_true(config.vms[0].bad);
    assert_int_equal(config.vms[0].core, -1);
    assert_false(config.vms[1].bad);
    assert_check("[vm a]\nimage=hello\nmemory=8M\ninitrd = none",
                 "t.conf:4:10: initrd 'none' not found among the boot modules");
    assert_check("[vm a]\nimage=text\nmemory=8M",
                 "t.conf:2:7: image 'text' has an unknown format: "
                 "Linux bzImage, multiboot 2, multiboot 1 and PVH ELF are known; for a flat "
                 "binary write load = ADDRESS");
    assert_check("[vm a]\nimage=elf\nmemory=8M",
                 "t.conf:2:7: image 'elf' has an unknown format (ELF, but no multiboot header in "
                 "its first 32 KB, nor a PVH note): Linux bzImage, multiboot 2, multiboot 1 and "
                 "PVH ELF are known; for a flat binary write load = ADDRESS");
    assert_check("[vm a]\nimage=empty\nmemory=8M", "t.conf:2:7: image 'empty' is empty");
    assert_check("[vm a]\nimage=locked\nmemory=8M",
                 "t.conf:2:7: image 'locked' cannot be read: Permission denied");
    assert_check("[vm a]\nimage=odd\nmemory=8M",
                 "t.conf:2:7: image 'odd' cannot be read: unknown reason");
    assert_check("[vm a]\nimage=linux\ninitrd=initrd\nmemory=5M",
                 "t.conf:4:8: memory = 5M is less than the size of image and initrd: 6M");
    assert_check("[vm a]\nimage=linux\ninitrd=huge\nmemory=5M",
                 "t.conf:4:8: memory = 5M is less than the size of image and initrd: "
                 "17592186044415M");
    // A bad VM learns of its other mistakes too.
    make_heads();
    assert_int_equal(parse("[vm a]\nimage=none\nvcpus=0\nmemory=8M"), 1);
    assert_int_equal(config_check(&config, &host, &sink), 1);
    assert_messages("t.conf:3:7: vcpus = 0: a VM needs at least one\n"
                    "t.conf:2:7: image 'none' not found among the boot modules");
}

static void test_check_names(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=x/hello\nmemory=8M\n[vm b]\nimage=y/hello\nmemory=8M",
                 "t.conf:5:7: image 'y/hello' has the same file name as 'x/hello' at line 2: "
                 "rename one");
    assert_false(config.vms[0].bad);
    assert_true(config.vms[1].bad);
    assert_check("[vm a]\nimage=x/hello\nmemory=8M\ninitrd=hello",
                 "t.conf:4:8: initrd 'hello' has the same file name as 'x/hello' at line 2: "
                 "rename one");
    assert_check("[vm a]\nimage=x/hello\nmemory=8M\n[vm b]\nimage=./x/.//hello\nmemory=8M", "");
    assert_check("[vm a]\nimage=/x/hello\nmemory=8M\n[vm b]\nimage=x/hello\nmemory=8M",
                 "t.conf:5:7: image 'x/hello' has the same file name as '/x/hello' at line 2: "
                 "rename one");
}

static void test_check_memory(void **state)
{
    struct config_host machine = host;

    (void)state;
    assert_check("[vm a]\nimage=hello\nmemory=65M",
                 "t.conf:3:8: memory = 65M is more than there is: 64M");
    assert_check("[vm a]\nimage=hello\nmemory=32M\n[vm b]\nimage=hello\nmemory=33M\n"
                 "[vm c]\nimage=hello\nmemory=32M",
                 "t.conf:6:8: memory = 33M is more than is left: 32M of 64M");
    assert_false(config.vms[0].bad);
    assert_true(config.vms[1].bad);
    assert_false(config.vms[2].bad);
    assert_check("[vm a]\nimage=hello",
                 "t.conf:1:1: memory = 128M (the default) is more than there is: 64M");
    // A VM that will not start takes nothing.
    assert_check("[vm a]\nimage=none\nmemory=60M\n[vm b]\nimage=hello\nmemory=64M",
                 "t.conf:2:7: image 'none' not found among the boot modules");
    machine.vm_overhead = MB;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=64M"), 1);
    assert_messages("t.conf:3:8: memory = 64M is more than is left: 62M of 64M");
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=60M\n"
                                        "[vm b]\nimage=hello\nmemory=4M"), 1);
    assert_messages("t.conf:6:8: memory = 4M is more than is left: 1767K of 64M");
    machine.vm_overhead = 0;
    machine.memory = 5000 * 1024;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=1G"), 1);
    assert_messages("t.conf:3:8: memory = 1G is more than there is: 5000K");
    machine.memory = 0;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=500G"), 0);
}

// What a VM may have at most, and how much of all that is then: exactly so much is taken.
static void test_memory_taken(void **state)
{
    struct config_host machine = host;

    (void)state;
    machine.vm_overhead = MB;
    machine.memory = 64 * MB + 256 * 1024 + 32768 / 512 + 3 * 4096; // tables of RAM and of a file
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=63M"), 0);
    assert_int_equal(config.memory_taken, 64 * MB + 63 * 4096 + 64 + 3 * 4096);
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=64M"), 1);
    assert_int_equal(config.memory_taken, 0);
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=8M\n"
                                        "[vm b]\nimage=hello\nmemory=8M"), 0);
    assert_int_equal(config.memory_taken, 2 * (9 * MB + 8 * 4096 + 64 + 3 * 4096));
    // The memory of a test board is its VM's, too.
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=8M\ntestdev=yes\n"), 0);
    assert_int_equal(config.memory_taken, 9 * MB + 8 * 4096 + 64 + 3 * 4096 + 65536);
}

static uint64_t for_vms(uint64_t ram, uint32_t cores, uint64_t files)
{
    const struct config_machine machine = {ram, cores, files};
    return config_memory_for_vms(&machine);
}

static void test_memory_for_vms(void **state)
{
    uint64_t all = for_vms(256 * MB, 2, 8192);

    (void)state;
    assert_in_range(all, 244 * MB, 248 * MB);
    // What the firmware keeps for itself makes no difference, up to 1 MB.
    assert_int_equal(for_vms(255 * MB + 1, 2, 8192), all);
    assert_int_equal(for_vms(255 * MB, 2, 8192), for_vms(256 * MB, 2, 8192) - MB + 4096);
    assert_int_equal(for_vms(256 * MB, 2, 12288), all - 4096);
    assert_int_equal(for_vms(256 * MB, 0, 8192), for_vms(256 * MB, 1, 8192));
    assert_true(for_vms(256 * MB, 64, 8192) + 62 * 64 * 1024 == all);
    // 16 GB, of which 2 GB lie above the 16th: 18 GB of records.
    assert_int_equal(for_vms(16384 * MB, 1, 0), (16384 - 72 - 9) * MB - 64 * 1024);
    // Nothing left, and that is not the same as not known.
    assert_int_equal(for_vms(0, 0, 0), 4096);
    assert_int_equal(for_vms(8 * MB, 1, 0), 4096);
    assert_int_equal(for_vms(256 * MB, 1, UINT64_MAX), 4096);
    assert_int_equal(config_file_bytes(0), 0);
    assert_int_equal(config_file_bytes(4097), 8192);
    assert_int_equal(config_file_bytes(UINT64_MAX), UINT64_MAX);
}

static void test_check_cores(void **state)
{
    struct config_host machine = host;

    (void)state;
    assert_check("[vm a]\nimage=hello\nmemory=8M\ncores=0 2",
                 "t.conf:4:7: core 2 does not exist: this machine has cores 0 to 1");
    machine.cores = 1;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=8M\ncores=1"), 1);
    assert_messages("t.conf:4:7: core 1 does not exist: this machine has only core 0");
    assert_check("[vm a]\nimage=hello\nmemory=8M\ncores=0 1\nshare=60%\n"
                 "[vm b]\nimage=hello\nmemory=8M\ncores=1\nshare=41%\n"
                 "[vm c]\nimage=hello\nmemory=8M\ncores=1\nshare=40%",
                 "t.conf:10:7: shares of core 1 add up to 101% with [vm b]: "
                 "60% are taken by the VMs above");
    assert_true(config.vms[1].bad);
    assert_false(config.vms[2].bad);
    // A VM refused for its memory gives its share back.
    assert_check("[vm a]\nimage=hello\nmemory=80M\ncores=0\nshare=60%\n"
                 "[vm b]\nimage=hello\nmemory=8M\ncores=0\nshare=60%",
                 "t.conf:3:8: memory = 80M is more than there is: 64M");
    assert_check("[vm a]\nimage=hello\nmemory=8M\nshare=60%\n"
                 "[vm b]\nimage=hello\nmemory=8M\nshare=60%\n"
                 "[vm c]\nimage=hello\nmemory=8M\nshare=41%\n",
                 "t.conf:12:7: share = 41% of [vm c] fits on no core: at most 40% of one is left");
    machine.cores = 0;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=8M\ncores=60\n"
                                        "[vm b]\nimage=hello\nmemory=8M"), 0);
    assert_int_equal(config.vms[0].core, 60);
    assert_int_equal(config.vms[1].core, -1);
    machine.cores = 100000;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\nmemory=8M\ncores=63"), 0);
}

static void test_placement(void **state)
{
    (void)state;
    // Lists first, also those further down; then the rest to the core with the fewest VMs.
    assert_check("[vm a]\nimage=hello\nmemory=8M\n"
                 "[vm b]\nimage=hello\nmemory=8M\ncores=0\n"
                 "[vm c]\nimage=hello\nmemory=8M\ncores=0\n"
                 "[vm d]\nimage=hello\nmemory=8M\n"
                 "[vm e]\nimage=hello\nmemory=8M\n",
                 "");
    assert_int_equal(config.vms[0].core, 1);
    assert_int_equal(config.vms[1].core, 0);
    assert_int_equal(config.vms[2].core, 0);
    assert_int_equal(config.vms[3].core, 1);
    assert_int_equal(config.vms[4].core, 0);
    // Within a list likewise; and a share goes where it fits.
    assert_check("[vm a]\nimage=hello\nmemory=8M\ncores=1 0\nshare=50%\n"
                 "[vm b]\nimage=hello\nmemory=8M\ncores=1 0\n"
                 "[vm c]\nimage=hello\nmemory=8M\ncores=1\nshare=10%\n"
                 "[vm d]\nimage=hello\nmemory=8M\nshare=40%\n"
                 "[vm e]\nimage=hello\nmemory=8M\nshare=40%\n",
                 "");
    assert_int_equal(config.vms[0].core, 0);
    assert_int_equal(config.vms[1].core, 1);
    assert_int_equal(config.vms[2].core, 1);
    assert_int_equal(config.vms[3].core, 1);
    assert_int_equal(config.vms[4].core, 0);
}

// The largest share first, to the first core that has room: 60 and 40, 45 and 45; in the order of
// the file the last one would not fit. Core 0 comes last.
static void test_first_fit(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=hello\nmemory=8M\nshare=45%\n"
                 "[vm b]\nimage=hello\nmemory=8M\nshare=40%\n"
                 "[vm c]\nimage=hello\nmemory=8M\nshare=45%\n"
                 "[vm d]\nimage=hello\nmemory=8M\nshare=60%\n", "");
    assert_int_equal(config.vms[3].core, 1);
    assert_int_equal(config.vms[0].core, 0);
    assert_int_equal(config.vms[2].core, 0);
    assert_int_equal(config.vms[1].core, 1);
    // One that has ended leaves its room to others.
    config.vms[3].ended = true;
    config_place(&config, 2);
    assert_int_equal(config.vms[0].core, 1);
    assert_int_equal(config.vms[2].core, 1);
    assert_int_equal(config.vms[1].core, 0);
}

// VMs and files beyond what a boot has room for.
static void test_counts(void **state)
{
    const struct config_host machine = {.find = find, .max_vms = 2, .max_files = 2};

    (void)state;
    assert_int_equal(check_on(&machine, "[vm a]\nimage=hello\n[vm b]\nimage=none\n"
                                        "[vm c]\nimage=hello\n[vm d]\nimage=hello"), 2);
    assert_messages("t.conf:4:7: image 'none' not found\n"
                    "t.conf:7:1: [vm d] is one too many: 2 VMs can be run");
    assert_int_equal(check_on(&machine, "[vm a]\nimage=linux\ninitrd=initrd\n"
                                        "[vm b]\nimage=linux\ninitrd=initrd\n"
                                        "[vm c]\nimage=hello"), 1);
    assert_messages("t.conf:8:7: image 'hello' is one file too many: 2 can be loaded at boot");
}

// Manager and console have a share of core 0, which its VMs do not get.
static void test_system_share(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=hello\nmemory=8M\ncores=0\nshare=90%\n", "");
    assert_check("[vm a]\nimage=hello\nmemory=8M\ncores=0 1\nshare=91%\n",
                 "t.conf:5:7: shares of core 0 add up to 101% with [vm a]: "
                 "10% are taken by [system] and the VMs above");
    assert_check("[system]\nshare=30%\n[vm a]\nimage=hello\nmemory=8M\nshare=80%\n"
                 "[vm b]\nimage=hello\nmemory=8M\nshare=71%\n",
                 "t.conf:10:7: share = 71% of [vm b] fits on no core: at most 70% of one is left");
    assert_check("[system]\nshare=100%\n[vm a]\nimage=hello\nmemory=8M\ncores=1\nshare=100%\n"
                 "[vm b]\nimage=hello\nmemory=8M\n", "");
}

static void test_period(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=hello\nmemory=8M\nperiod=1ms\n"
                 "[vm b]\nimage=hello\nmemory=8M\nperiod=2ms\nshare=10%\n",
                 "t.conf:4:1: period is that of a share, and [vm a] has none: add share = PERCENT");
    assert_true(config.vms[0].bad);
    assert_false(config.vms[1].bad);
    assert_int_equal(config.vms[1].period_us, 2000);
}

static void test_no_facts(void **state)
{
    static const struct config_host nothing;

    (void)state;
    assert_int_equal(check_on(&nothing, "[vm a]\nimage=none\nmemory=500G"), 0);
    assert_messages("");
    struct config_host no_hint = {.find = find};
    assert_int_equal(check_on(&no_hint, "[vm a]\nimage=none"), 1);
    assert_messages("t.conf:2:7: image 'none' not found");
}

static void test_diag_format(void **state)
{
    char line[32];
    struct config_diag diag = {"f", {3, 4}, CONFIG_ERROR, "m"};

    (void)state;
    config_diag_format(line, sizeof(line), &diag);
    assert_string_equal(line, "f:3:4: m");
    diag.pos.column = 0;
    config_diag_format(line, sizeof(line), &diag);
    assert_string_equal(line, "f:3: m");
    diag.pos.line = 0;
    config_diag_format(line, 4, &diag);
    assert_string_equal(line, "f: ");
}

static void test_restart_limits(void **state)
{
    static const char *const bad[] = { "5", "0 per 1m", "5 per", "5 per 10", "5 per 0s", "5 per 8d",
                                       "5 in 10m", "x per 10m", "5 per 10y" };
    char text[64];
    (void)state;

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "[vm web]\nimage=x\nrestart-limit = %s\n", bad[i]);
        assert_int_equal(parse(text), 1);
        assert_non_null(strstr(messages, " is not like '5 per 10m': "));
    }
}

static void test_watchdog(void **state)
{
    static const struct { const char *text; bool there; uint32_t seconds; } good[] = {
        {"yes", true, 0}, {"no", false, 0}, {"1s", true, 1}, {"30s", true, 30},
        {"7d", true, 604800},
    };
    static const char *const bad[] = {"30", "0s", "8d", "on", "1s ago"};
    char text[64], message[128];
    (void)state;

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        snprintf(text, sizeof(text), "[vm a]\nimage=x\nwatchdog=%s", good[i].text);
        assert_int_equal(parse(text), 0);
        assert_int_equal(config.vms[0].watchdog, good[i].there);
        assert_int_equal(config.vms[0].watchdog_s, good[i].seconds);
    }
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(text, sizeof(text), "[vm a]\nimage=x\nwatchdog = %s", bad[i]);
        assert_int_equal(parse(text), 1);
        snprintf(message, sizeof(message), "t.conf:3:12: watchdog = %s is none of yes, no and a "
                 "time such as 2m (1s to 7d; s, m, h, d)", bad[i]);
        assert_messages(message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_restart_limits),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_check_files),
        cmocka_unit_test(test_check_names),
        cmocka_unit_test(test_check_memory),
        cmocka_unit_test(test_memory_taken),
        cmocka_unit_test(test_memory_for_vms),
        cmocka_unit_test(test_check_cores),
        cmocka_unit_test(test_placement),
        cmocka_unit_test(test_first_fit),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_system_share),
        cmocka_unit_test(test_period),
        cmocka_unit_test(test_no_facts),
        cmocka_unit_test(test_diag_format),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
