# Variables that users set: what they may hold, and how they reach a command. Included by
# the Makefile.
#
# make splits at blanks, and so does the shell, which also runs what is in $(...). A
# source of images or a path of data is passed in quotes, so that it may hold almost
# anything. Names, numbers and RUN, which is part of targets, are letters, digits and
# few other characters. A list of flags is split at blanks alone: quotes have no meaning.

empty :=
blank := $(empty) $(empty)
tab := $(empty)	$(empty)
define line_break


endef

# One word for the shell; of a list, each word.
quote = '$(subst ','\'',$(1))'
quote_words = $(foreach word,$(1),$(call quote,$(word)))
# One word for make, and back.
pack = $(subst $(blank),~1,$(subst ~,~0,$(1)))
unpack = $(subst ~0,~,$(subst ~1,$(blank),$(1)))
# Whether the user has left a variable as it is.
is_default = $(filter file undefined default,$(origin $(1)))

# Neither names nor numbers have these, nor a path that make could have as a target.
RESERVED := " ' ` \ ; & | < > ( ) [ ] { } ? * ! = % ~ \#
refuse = $(error expected $(1)= $(2), got $(1)=$(value $(1)))

# $(call check_no_dollar,NAMES): what make would expand is refused if a user gives it.
check_no_dollar = $(foreach name,$(1),$(if $(call is_default,$(name)),,\
	$(if $(findstring $$,$(value $(name))),$(call refuse,$(name),without a dollar sign))))

# $(call check_text,NAMES): anything in one line.
check_text = $(foreach name,$(1),\
	$(if $(or $(findstring $(tab),$($(name))),$(findstring $(line_break),$($(name)))),\
		$(call refuse,$(name),in one line and without tabs)))

# $(call check_plain,NAMES): letters, digits and - + . , / @ ^ _ and the colon.
check_plain = $(call check_text,$(1))$(foreach name,$(1),\
	$(if $(findstring $(blank),$($(name))),$(call refuse,$(name),without blanks))\
	$(foreach character,$(RESERVED),$(if $(findstring $(character),$($(name))),\
		$(call refuse,$(name),without the character $(character)))))

# $(call check_sources,NAME): a list of sources, of which none has blanks.
check_sources = $(foreach word,$(filter-out tfds:% folder:% tfrecord:% webdataset:%,\
	$($(1))),$(call refuse,$(1),as sources separated by blanks (a path that has blanks \
	needs a link without)))

# A number with each digit as a ~, which no plain value has, and what else it has.
marked = $(subst 0,~,$(subst 1,~,$(subst 2,~,$(subst 3,~,$(subst 4,~,$(call marked_5,$(1)))))))
marked_5 = $(subst 5,~,$(subst 6,~,$(subst 7,~,$(subst 8,~,$(subst 9,~,$(1))))))
rest = $(subst ~,,$(call marked,$(1)))
# Not 00, which would be compared as text with 0.
is_whole = $(and $(1),$(if $(call rest,$(1)),,whole),$(if $(filter-out 0,$(filter 0%,$(1))),,whole))
is_positive = $(and $(call is_whole,$(1)),$(filter-out 0,$(1)))
is_up_to_1000 = $(and $(call is_whole,$(1)),$(filter 1000 ~ ~~ ~~~,$(1) $(call marked,$(1))))
is_up_to_6_digits = $(and $(call is_whole,$(1)),\
	$(filter ~ ~~ ~~~ ~~~~ ~~~~~ ~~~~~~,$(call marked,$(1))))
is_decimal = $(and $(filter-out .,$(1)),$(if $(filter-out .,$(call rest,$(1))),,decimal))
is_share = $(and $(call is_decimal,$(1)),$(filter 0 1 1.0 0.% .%,$(1)))
# $(call check_given,TEST,NAMES,WORDS): the values of those that a user gives.
check_given = $(foreach name,$(2),$(if $(call is_default,$(name)),,\
	$(if $(call $(1),$($(name))),,$(call refuse,$(name),$(3)))))
# $(call check_whole,NAMES), from 0 on; $(call check_positive,NAMES), from 1 on.
check_whole = $(call check_given,is_whole,$(1),as a whole number of 0 or more)
check_positive = $(call check_given,is_positive,$(1),as a whole number of 1 or more)
check_up_to_1000 = $(call check_given,is_up_to_1000,$(1),as a whole number up to 1000)
check_seed = $(call check_given,is_up_to_6_digits,$(1),as a whole number up to 999999)
check_decimal = $(call check_given,is_decimal,$(1),as a number such as 0.5)
check_share = $(call check_given,is_share,$(1),as a number from 0 to 1 such as 0.5)
# $(call check_choice,NAME,VALUES)
check_choice = $(if $(or $(call is_default,$(1)),$(filter $(2),$($(1)))),,\
	$(call refuse,$(1),as one of $(2)))

# $(call check_known,NAMES): nothing else is given on the command line.
check_known = $(foreach name,$(.VARIABLES),$(if $(and \
	$(filter command,$(origin $(name))),$(if $(filter $(1),$(name)),,unknown)),\
	$(error expected no variable $(name)=; there are $(sort $(1)))))
