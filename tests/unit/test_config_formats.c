// SPDX-License-Identifier: BSD-2-Clause
//
// The config's keys `module` and `load`, the formats of images, and what each format takes.
#include "tests/unit/config_messages.h"

static uint8_t head[CONFIG_IMAGE_HEAD];

static void put(size_t at, unsigned bytes, uint64_t value)
{
    memcpy(head + at, &value, bytes);
}

static void make_elf64(void)
{
    memset(head, 0, sizeof(head));
    memcpy(head, "\177ELF\2\1\1", 7);
    put(32, 8, 64);    // program headers
    put(54, 2, 56);
}

static void put_multiboot1(size_t at, uint32_t flags)
{
    put(at, 4, 0x1badb002);
    put(at + 4, 4, flags);
    put(at + 8, 4, 0u - (0x1badb002u + flags));
}

static void put_multiboot2(size_t at)
{
    put(at, 4, 0xe85250d6);
    put(at + 4, 4, 0);
    put(at + 8, 4, 24);
    put(at + 12, 4, 0u - (0xe85250d6u + 24));
}

// A segment of notes: a foreign one, then Xen's entry point.
static void make_pvh(bool wide, uint64_t notes)
{
    make_elf64();
    put(4, 1, wide ? 2 : 1);
    put(wide ? 56 : 44, 2, 1);
    put(wide ? 54 : 42, 2, wide ? 56 : 32);
    if (!wide)
        put(28, 4, 64);
    put(64, 4, 4);
    put(64 + (wide ? 8 : 4), wide ? 8 : 4, notes);
    put(64 + (wide ? 32 : 16), wide ? 8 : 4, 40);
    if (notes + 40 > sizeof(head))
        return;
    put(notes, 4, 4);
    put(notes + 4, 4, 3);
    put(notes + 8, 4, 18);
    memcpy(head + notes + 12, "GNU", 4);
    put(notes + 20, 4, 4);
    put(notes + 24, 4, 4);
    put(notes + 28, 4, 18);
    memcpy(head + notes + 32, "Xen", 4);
}

static enum config_format format(void)
{
    return config_image_format(head, sizeof(head));
}

static void test_multiboot(void **state)
{
    (void)state;
    for (size_t at = 0x300; at < 0x320; at += 4) {
        memset(head, 0, sizeof(head));
        put_multiboot2(at);
        assert_int_equal(format(), at % 8 == 0 ? CONFIG_FORMAT_MULTIBOOT2 : CONFIG_FORMAT_UNKNOWN);
    }
    memset(head, 0, sizeof(head));
    put_multiboot2(sizeof(head) - 16);
    assert_int_equal(format(), CONFIG_FORMAT_MULTIBOOT2);
    assert_int_equal(config_image_format(head, sizeof(head) - 1), CONFIG_FORMAT_UNKNOWN);
    put(sizeof(head) - 12, 4, 4); // a MIPS
    assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
    // Version 1 without ELF needs its address fields.
    memset(head, 0, sizeof(head));
    put_multiboot1(0x300, 3);
    assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
    put_multiboot1(0x300, 3 | 1 << 16);
    assert_int_equal(format(), CONFIG_FORMAT_MULTIBOOT1);
    put_multiboot2(0x400);
    assert_int_equal(format(), CONFIG_FORMAT_MULTIBOOT2);
}

static void test_pvh(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        make_pvh(wide, 0x1000);
        assert_int_equal(format(), CONFIG_FORMAT_PVH);
        put(0x1000 + 28, 4, 17);
        assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
        make_pvh(wide, 0x1000);
        put(0x1000, 4, UINT32_MAX);
        assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
        make_pvh(wide, 0x1000);
        put(64 + (wide ? 32 : 16), 4, 39); // cut off within what it says
        assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
        // Notes of 12 and 4 bytes padded to 8, in a segment of alignment 8: 12 bytes of header and
        // 4 of a name end at a multiple of 8.
        make_pvh(wide, 0x1000);
        put(64 + (wide ? 48 : 28), 4, 8);
        put(64 + (wide ? 32 : 16), 4, 56);
        put(0x1000 + 4, 4, 12);
        put(0x1000 + 32, 4, 4);
        put(0x1000 + 36, 4, 4);
        put(0x1000 + 40, 4, 18);
        memcpy(head + 0x1000 + 44, "Xen", 4);
        assert_int_equal(format(), CONFIG_FORMAT_PVH);
        make_pvh(wide, 0x1000); // padded to 4 in such a segment
        put(64 + (wide ? 48 : 28), 4, 8);
        assert_int_equal(format(), CONFIG_FORMAT_PVH);
        make_pvh(wide, 0x1001); // in a segment that begins anywhere
        assert_int_equal(format(), CONFIG_FORMAT_PVH);
        make_pvh(wide, sizeof(head) - 39); // further back: the loader will see
        assert_int_equal(format(), CONFIG_FORMAT_PVH);
        make_pvh(wide, 0x1000);
        put(64, 4, 1);
        assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
        make_pvh(wide, 0x1000);
        put(wide ? 54 : 42, 2, wide ? 55 : 31); // program headers that overlap
        assert_int_equal(format(), CONFIG_FORMAT_UNKNOWN);
    }
}

static void test_modules(void **state)
{
    (void)state;
    assert_int_equal(parse("[vm a]\n"
                           "image  = x\n"
                           "module = a/one  first \"word  # comment\n"
                           "module = two\n"
                           "module = \"three four # five \"\n"), 0);
    const struct config_vm *vm = &config.vms[0];
    static const char *const path[] = { "a/one", "two", "three" };
    static const char *const cmdline[] = { "first \"word", "", "four # five " };
    assert_int_equal(vm->n_modules, 3);
    for (unsigned i = 0; i < 3; i++) {
        assert_string_equal(vm->module_text + vm->modules[i].path, path[i]);
        assert_string_equal(vm->module_text + vm->modules[i].cmdline, cmdline[i]);
        assert_string_equal(config_vm_file(vm, 2 + i), path[i]);
    }
    assert_string_equal(config_vm_file(vm, 0), "x");
    assert_string_equal(config_vm_file(vm, 1), "");
    assert_string_equal(config_vm_file(vm, 5), "");
    assert_int_equal(vm->modules[2].pos.line, 5);
    assert_int_equal(vm->modules[2].pos.column, 11);
    assert_false(vm->flat);
    // Each VM has its own.
    assert_int_equal(parse("[vm a]\nimage=x\nmodule=m\n[vm b]\nimage=x"), 0);
    assert_int_equal(config.vms[1].n_modules, 0);
}

static void test_module_mistakes(void **state)
{
    static char text[8192];
    (void)state;

    parse("[vm a]\nimage=x\nmodule=");
    assert_messages("t.conf:3:1: key 'module' has no value");
    parse("[vm a]\nimage=x\nmodule=d/ a");
    assert_messages("t.conf:3:8: module 'd/' names a folder, not a file");
    parse("[vm a]\nimage=x\nmodule=\" a\"");
    assert_messages("");
    assert_string_equal(config_vm_file(&config.vms[0], 2), "a");
    parse("[vm a]\nimage=x\nmodule=\"  \"");
    assert_messages("t.conf:3:9: module names no file");
    strcpy(text, "[vm a]\nimage=x\n");
    for (unsigned i = 0; i <= CONFIG_MAX_MODULES; i++)
        strcat(text, "module=m\n");
    parse(text);
    assert_messages("t.conf:19:8: more than 16 modules in one VM");
    assert_true(config.vms[0].bad);
    // 3 * (2 + 1363) is one byte less than there is room for.
    strcpy(text, "[vm a]\nimage=x\n");
    for (unsigned i = 0; i < 3; i++)
        sprintf(text + strlen(text), "module=m %0*d\n", 1362, 0);
    assert_int_equal(parse(text), 0);
    strcpy(text + strlen(text) - 1, "00\n");
    parse(text);
    assert_messages("t.conf:5:8: the modules of this VM take more than 4096 bytes of text");
}

static void assert_load(const char *value, uint64_t gpa)
{
    char text[80];

    snprintf(text, sizeof(text), "[vm a]\nimage=x\nload=%s\n", value);
    assert_int_equal(parse(text), 0);
    assert_true(config.vms[0].flat);
    assert_true(config.vms[0].flat_gpa == gpa);
}

static void test_load(void **state)
{
    static const char bad[] = "' for load: write 0x and hexadecimal digits, or digits and K, M or "
                              "G, such as 1M";
    static const char *const values[] = {
        "0x", "0x1g", "x", "-1", "0x11111111111111111", "99999999999999999999", "M", "1T",
    };
    (void)state;

    assert_load("0x100000", 0x100000);
    assert_load("0XaBcD", 0xabcd);
    assert_load("0x0", 0);
    assert_load("0", 0);
    assert_load("31744", 31744);
    assert_load("1M", 1 << 20);
    assert_load("640k", 640 << 10);
    assert_load("0xffffffff", 0xffffffff);
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char text[160], message[240];
        snprintf(text, sizeof(text), "[vm a]\nimage=x\nload=%s", values[i]);
        snprintf(message, sizeof(message), "t.conf:3:6: bad address '%s%s", values[i], bad);
        assert_int_equal(parse(text), 1);
        assert_messages(message);
    }
    parse("[vm a]\nimage=x\nload=4G");
    assert_messages("t.conf:3:6: load = 4G is not below 4 GB");
    parse("[vm a]\nimage=x\nload=0x100000000");
    assert_messages("t.conf:3:6: load = 0x100000000 is not below 4 GB");
    parse("[vm a]\nimage=x\nload=1M\nload=1M");
    assert_messages("t.conf:4:1: key 'load' again in [vm a] (first defined at line 3)");
}

static void put_linux(unsigned version, unsigned loadflags)
{
    put(0x1fe, 2, 0xaa55);
    put(0x202, 4, 0x53726448);
    put(0x206, 2, version);
    put(0x211, 1, loadflags);
    put(0x230, 4, 0x200000);
    put(0x234, 1, 1);
}

// A file's format is in its name.
static enum config_find find(void *ctx, const char *path, struct config_image *image)
{
    (void)ctx;
    make_elf64();
    if (strncmp(path, "mb1", 3) == 0)
        put_multiboot1(0x300, 0);
    else if (strcmp(path, "mb2") == 0)
        put_multiboot2(0x300);
    else if (strcmp(path, "pvh") == 0)
        make_pvh(true, 0x300);
    else if (strcmp(path, "linux") == 0)
        put_linux(0x20f, 1);
    else if (strcmp(path, "zimage") == 0)
        put_linux(0x20f, 0);
    else if (strcmp(path, "old") == 0)
        put_linux(0x203, 1);
    else if (strcmp(path, "unpack") == 0) {
        put_linux(0x20f, 1);
        put(0x258, 8, 0x1000000);
        put(0x260, 4, 0x3378000);
    }
    else if (strcmp(path, "elf") != 0)
        memset(head, 'x', sizeof(head));
    if (strcmp(path, "none") == 0)
        return CONFIG_MISSING;
    image->head = head;
    image->head_size = sizeof(head);
    image->size = strcmp(path, "large") == 0 ? 3 * MB : 1 * MB;
    return CONFIG_FOUND;
}

static void assert_check(const char *text, const char *expected)
{
    const struct config_host host = {.find = find, .looked_in = "here"};

    assert_int_equal(parse(text), 0);
    assert_int_equal(config_check(&config, &host, &sink) != 0, expected[0] != '\0');
    assert_messages(expected);
}

static void test_check(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=mb1\nmodule=m a\n[vm b]\nimage=mb2\ninitrd=m\nmodule=n\n"
                 "[vm c]\nimage=pvh\nmodule=m\n[vm d]\nimage=flat\nload=1M\n[vm e]\nimage=linux",
                 "");
    static const enum config_format formats[] = {
        CONFIG_FORMAT_MULTIBOOT1, CONFIG_FORMAT_MULTIBOOT2, CONFIG_FORMAT_PVH, CONFIG_FORMAT_FLAT,
        CONFIG_FORMAT_LINUX,
    };
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(config.vms[i].format, formats[i]);
    assert_check("[vm a]\nimage=linux\nmodule=m\n",
                 "t.conf:3:8: a Linux bzImage takes no modules, only an initrd");
    assert_true(config.vms[0].bad);
    assert_check("[vm a]\nimage=flat\nload=1M\nmodule=m\n",
                 "t.conf:4:8: a flat binary takes no modules");
    assert_check("[vm a]\nimage=flat\nload=1M\ninitrd=m\n",
                 "t.conf:4:1: a flat binary takes no initrd");
    assert_check("[vm a]\nimage=mb2\nload=1M\n",
                 "t.conf:3:6: load is for a flat binary, and image 'mb2' is multiboot 2: "
                 "remove it");
    assert_check("[vm a]\nimage=elf\nload=1M\n",
                 "t.conf:3:6: load is for a flat binary, and image 'elf' is ELF: remove it");
    assert_check("[vm a]\nimage=mb1\nmodule=mb1 x\nmodule=none y\n",
                 "t.conf:4:8: module 'none' not found here");
    assert_check("[vm a]\nimage=mb1\nmodule=x/m\n[vm b]\nimage=mb1\nmodule=m\n",
                 "t.conf:6:8: module 'm' has the same file name as 'x/m' at line 3: rename one");
    assert_check("[vm a]\nimage=mb1\nmodule=large\nmodule=m\nmemory=4M",
                 "t.conf:5:8: memory = 4M is less than the size of image and modules: 5M");
    assert_check("[vm a]\nimage=mb1\ninitrd=m\nmodule=large\nmemory=4M",
                 "t.conf:5:8: memory = 4M is less than the size of image, initrd and modules: 5M");
}

static void test_entry(void **state)
{
    (void)state;
    assert_check("[vm a]\nimage=linux\nentry=32\n[vm b]\nimage=linux\n", "");
    assert_true(config.vms[0].entry32);
    assert_false(config.vms[1].entry32);
    assert_check("[vm a]\nimage=mb1\nentry=32\n",
                 "t.conf:3:1: entry is for a Linux bzImage, and the image is multiboot 1: "
                 "remove it");
    assert_true(config.vms[0].bad);
    assert_check("[vm a]\nimage=flat\nload=1M\nentry=32\n",
                 "t.conf:4:1: entry is for a Linux bzImage, and the image is a flat binary: "
                 "remove it");
    parse("[vm a]\nimage=linux\nentry=16\n");
    assert_messages("t.conf:3:7: entry = 16 is not known: write 32 for the 32-bit entry of a Linux "
                    "kernel, or leave it out");
}

// What the loader would refuse is refused before.
static void test_check_linux(void **state)
{
    struct config_image image = {.head = head, .head_size = sizeof(head), .size = 1 * MB};
    (void)state;

    assert_check("[vm a]\nimage=zimage\n[vm b]\nimage=old\n",
                 "t.conf:2:7: image 'zimage' is a zImage, which is loaded below 1 MB and started "
                 "in real mode: a bzImage is needed\n"
                 "t.conf:4:7: image 'old' has Linux boot protocol 2.03, and is started in real "
                 "mode: 2.06 or later is needed");
    assert_true(config.vms[0].bad && config.vms[1].bad);
    assert_check("[vm a]\nimage=unpack\nmemory=64M\n",
                 "t.conf:3:8: memory = 64M is less than this kernel needs to unpack itself: "
                 "69088K");
    assert_check("[vm a]\nimage=unpack\nmemory=69088K\n", "");
    assert_check("[vm a]\nimage=unpack\ninitrd=large\nmemory=69088K\n",
                 "t.conf:4:8: memory = 67M is less than this kernel needs to unpack itself, and "
                 "its initrd behind it: 72160K");
    assert_check("[vm a]\nimage=unpack\ninitrd=large\nmemory=72160K\n", "");
    // As in vmm/load/bzimage.c: from 1 MB, or from its alignment, or its own size.
    memset(head, 0, sizeof(head));
    put_linux(0x20f, 1);
    assert_int_equal(config_linux_end(&image), 3 * MB);
    put(0x234, 1, 0);
    assert_int_equal(config_linux_end(&image), 2 * MB);
    put(0x258, 8, 8 * MB);
    assert_int_equal(config_linux_end(&image), 9 * MB);
    put(0x260, 4, 3 * MB);
    assert_int_equal(config_linux_end(&image), 11 * MB);
    put(0x206, 2, 0x209); // these fields are not there yet
    assert_int_equal(config_linux_end(&image), 2 * MB);
    put(0x206, 2, 0x20f);
    put(0x258, 8, UINT64_MAX);
    assert_true(config_linux_end(&image) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_multiboot),
        cmocka_unit_test(test_pvh),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_module_mistakes),
        cmocka_unit_test(test_load),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_entry),
        cmocka_unit_test(test_check_linux),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
