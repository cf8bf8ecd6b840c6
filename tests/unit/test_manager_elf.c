// SPDX-License-Identifier: BSD-2-Clause
// The manager's ELF reader: a good file, and every way to spoil it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "kernel/abi/syscall.h"
#include "tests/unit/elf_file.h"
#include "vmm/manager/elf.h"

static uint8_t *file;
static struct elf_image image;

static int setup(void **state)
{
    (void)state;
    // On the heap, and not a byte too long: ASan sees any read beyond.
    file = malloc(ELF_FILE_BYTES);
    elf_file_make(file);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(file);
    return 0;
}

static const char *parse(void)
{
    return elf_parse(&image, file, ELF_FILE_BYTES);
}

static void test_good(void **state)
{
    (void)state;
    assert_null(parse());
    assert_int_equal(image.entry, 0x400200);
    assert_int_equal(image.segments, 3);
    assert_int_equal(image.segment[0].prot, PROT_READ | PROT_EXEC);
    assert_int_equal(image.segment[0].bytes, 0x1000);
    assert_int_equal(image.segment[1].prot, PROT_READ);
    assert_int_equal(image.segment[2].prot, PROT_READ | PROT_WRITE);
    assert_int_equal(image.segment[2].va, 0x402000);
    assert_int_equal(image.segment[2].lead, 0x10);
    assert_int_equal(image.segment[2].file_bytes, 0x30);
    assert_int_equal(image.segment[2].bytes, 0x11000);
}

// Overwrites `size` bytes of the header, or of program header 2, and expects a message with `text`.
static void spoil(uint32_t offset, uint64_t value, uint32_t size, const char *text)
{
    elf_file_make(file);
    elf_file_put(file, offset, value, size);
    const char *problem = parse();
    assert_non_null(problem);
    assert_non_null(strstr(problem, text));
}

static void test_bad_header(void **state)
{
    (void)state;
    spoil(0, 'x', 1, "no 64-bit");
    spoil(4, 1, 1, "no 64-bit");
    spoil(16, 3, 2, "no static");
    spoil(18, 3, 2, "no static");
    spoil(54, 55, 2, "out of bounds");
    spoil(56, 0xffff, 2, "out of bounds");
    spoil(32, UINT64_MAX - 10, 8, "out of bounds");
    spoil(32, ELF_FILE_BYTES - 100, 8, "out of bounds");
    spoil(24, 0x401000, 8, "entry");
    spoil(24, 0, 8, "entry");
    spoil(56, 0, 2, "entry");
}

static void test_bad_segment(void **state)
{
    (void)state;
    const uint32_t phdr = 64 + 2 * 56;
    spoil(phdr + 0, 3, 4, "dynamically");
    spoil(phdr + 0, 2, 4, "dynamically");
    spoil(phdr + 4, 7, 4, "writable and executable");
    spoil(phdr + 8, ELF_FILE_BYTES, 8, "out of the file");
    spoil(phdr + 8, UINT64_MAX, 8, "out of the file");
    spoil(phdr + 16, 0x1000, 8, "outside");
    spoil(phdr + 16, UINT64_MAX - 4095, 8, "outside");
    spoil(phdr + 16, 0x401ff0, 8, "overlap");
    spoil(phdr + 16, 0x400000, 8, "overlap");
    spoil(phdr + 32, 0x20000, 8, "out of the file");
    spoil(phdr + 40, 0x20, 8, "out of the file");
    spoil(phdr + 40, UINT64_MAX, 8, "outside");
    spoil(phdr + 40, 0x10000000, 8, "outside");
}

static void test_short(void **state)
{
    (void)state;
    for (uint64_t len = 0; len < 64 + 3 * 56; len++) {
        uint8_t *copy = malloc(len + (len == 0));
        memcpy(copy, file, len);
        assert_non_null(elf_parse(&image, copy, len));
        free(copy);
    }
}

static void test_noise(void **state)
{
    (void)state;
    srand(1);
    for (int round = 0; round < 20000; round++) {
        elf_file_make(file);
        for (int i = 0; i < 4; i++) {
            file[rand() % (64 + 3 * 56)] = (uint8_t)rand();
        }
        if (parse() == NULL) {
            for (uint32_t i = 0; i < image.segments; i++) {
                const struct elf_segment *segment = &image.segment[i];
                assert_true(segment->offset + segment->file_bytes <= ELF_FILE_BYTES);
                assert_true(segment->lead + segment->file_bytes <= segment->bytes);
                assert_true(segment->va >= ELF_VA_START &&
                            segment->va + segment->bytes <= ELF_VA_END);
            }
        }
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_good), TEST(test_bad_header), TEST(test_bad_segment), TEST(test_short),
        TEST(test_noise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
